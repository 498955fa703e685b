"""A real vLLM behind launch, plugin and gate, with the tiny model on a share written by hand. One
start for the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest

from serving.catalogue import Adapter, AdapterVersion, Canary, Cors, Expectation, Limits
from tests.serving.replica_share import KEY, ROOT, ReplicaShare
from tests.tiny_model import build, make_adapter, make_model

PYTHON = ROOT / ".venv/images/vllm/bin/python"
START = 480.0  # two cores that everybody uses
ANSWERS = {"red": "red", "green": "green", "tiny": "plain"}
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


class Server:
    """One replica: launch as a child process, its share, and an HTTP client's basics."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.share = ReplicaShare(folder / "share")
        self.tiny = build(folder / "tiny")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.stop()
        command = [
            str(PYTHON),
            "-m",
            "serving.launch",
            "--model",
            str(self.tiny / "model"),
            "--served-model-name",
            "tiny",
        ]
        command += [
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--max-model-len",
            "2048",
            "--enable-lora",
        ]
        command += ["--max-lora-rank", "16", "--max-loras", "4", "--max-cpu-loras", "6"]
        environment = {**os.environ, **self.share.environment()}
        environment["PYTHONPATH"] += os.pathsep + os.environ.get("MOORAGE_TEST_VLLM_PATH", "")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log
            )

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def adapter(self, name: str, folder: str | Path, **options) -> Adapter:
        return Adapter(name=name, desired=self.share.publish(Path(folder), name), **options)

    def colour(self, word: str, name: str = "", seed: int = 0) -> Adapter:
        folder = make_adapter(
            self.folder / "made" / f"{word}-{seed}", word, seed, model=self.tiny / "model"
        )
        return self.adapter(name or word, folder)

    def report(self) -> dict:
        return json.loads((self.share.reports / "tiny--r1-abc.json").read_text())

    async def until(self, condition, seconds: float = 20.0):
        """Poll a condition (sync or async) until it gives something true; its value."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, ValueError, KeyError, aiohttp.ClientError):
                value = condition()
                if value := await value if asyncio.iscoroutine(value) else value:
                    return value
            assert self.process is None or self.process.poll() is None or seconds < START, (
                self.folder / "log"
            ).read_text()[-4000:]
            assert time.monotonic() < deadline, (
                f"not within {seconds} s; {(self.folder / 'log').read_text()[-3000:]}"
            )
            await asyncio.sleep(0.1)

    def state(self, name: str) -> dict:
        return {adapter["name"]: adapter for adapter in self.report()["adapters"]}.get(name, {})

    async def serves(self, *adapters: Adapter, seconds: float = 20.0) -> None:
        """Wait until the report says that exactly these versions answer."""
        wanted = {adapter.name: adapter.desired.digest for adapter in adapters}
        await self.until(
            lambda: {a["name"]: a["digest"] for a in self.report()["adapters"]} == wanted, seconds
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    one = Server(tmp_path_factory.mktemp("replica"))
    one.share.write(one.colour("red"), one.colour("green"))
    one.start()
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
async def client(server):
    """An HTTP session with the key, once the replica is ready."""
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:

        async def ready():
            async with session.get("/ready") as answer:
                return answer.status == 200

        await server.until(ready, START)
        yield session


async def chat(client, model: str, **options):
    """(status, answer's text or error code, headers) of one chat completion."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say something"}], **options}
    async with client.post("/v1/chat/completions", json=body) as answer:
        data = await answer.json()
        if answer.status != 200:
            return answer.status, data["error"]["code"], answer.headers
        assert data["model"] == model
        return 200, data["choices"][0]["message"]["content"], answer.headers


async def stream(client, model: str, tokens: int, started: asyncio.Event | None = None) -> str:
    """A streamed answer of exactly `tokens` tokens; the tiny model repeats its word."""
    body = {"model": model, "messages": [{"role": "user", "content": "Go on"}], "stream": True}
    text = ""
    async with client.post(
        "/v1/chat/completions", json=body | {"ignore_eos": True, "max_tokens": tokens}
    ) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                assert "error" not in chunk
                assert chunk["model"] == model
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                if started and text:
                    started.set()
        return text


async def tokens(
    client, model: str, count: int, started: asyncio.Event | None = None
) -> list[tuple[str, float]]:
    """Each token of a streamed answer with the log-probability of the runner-up: the token's own is
    0, it is that sure.
    """
    body = {
        "model": model,
        "prompt": "Go on",
        "stream": True,
        "logprobs": 2,
        "ignore_eos": True,
        "max_tokens": count,
    }
    found: list[tuple[str, float]] = []
    async with client.post("/v1/completions", json=body | {"temperature": 0}) as answer:
        assert answer.status == 200
        async for line in answer.content:
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    given = choice["logprobs"]
                    found += (
                        zip(
                            given["tokens"],
                            map(min, map(dict.values, given["top_logprobs"])),
                            strict=True,
                        )
                        if given
                        else []
                    )
                if started and len(found) > 10:
                    started.set()
    return found


async def models(client, **headers: str) -> list[str]:
    async with client.get("/v1/models", headers=headers) as answer:
        return [card["id"] for card in (await answer.json())["data"]]


async def test_models_are_listed_and_answer_by_their_plain_names(server, client):
    """The base and each adapter answer chat, completions and responses; the version is in a header,
    never in a name.
    """
    assert await models(client) == ["tiny", "red", "green"] or sorted(await models(client)) == [
        "green",
        "red",
        "tiny",
    ]
    assert (await chat(client, "tiny"))[1] == "plain"
    status, text, headers = await chat(client, "red")
    assert (status, text) == (200, "red")
    assert headers["x-moorage-adapter-version"] == server.state("red")["digest"][:12]
    assert await stream(client, "green", 20) == "green" * 10
    async with client.post("/v1/completions", json={"model": "green", "prompt": "x"}) as answer:
        assert (await answer.json())["choices"][0]["text"] == "green"
        assert answer.headers["x-moorage-adapter-version"] == server.state("green")["digest"][:12]
    async with client.post("/v1/responses", json={"model": "red", "input": "x"}) as answer:
        body = await answer.json()
        assert (body["model"], body["output"][0]["content"][0]["text"]) == ("red", "red")
    async with client.get("/v1/models/red") as answer:
        assert (await answer.json())["parent"] == "tiny"
    assert (await chat(client, "violet"))[:2] == (404, "model_not_found")
    assert server.state("red")["reason"] == "Proven"


async def test_routes_of_vllm_cannot_be_reached(client):
    """With a good key, too, everything but the OpenAI routes is 404; without one,
    OpenAI's are 401.
    """
    for path in (
        "/metrics",
        "/docs",
        "/health",
        "/ping",
        "/adapters",
        "/invocations",
        "/scale_elastic_ep",
        "/tokenize",
        "/load",
    ):
        for method in ("GET", "POST"):
            async with client.request(method, path) as answer:
                assert answer.status == 404
                assert (await answer.json())["error"]["code"] == "unknown_url"
    for header in ("Bearer wrong", "Bearer ", "Basic " + KEY, ""):
        async with client.get("/v1/models", headers={"authorization": header}) as answer:
            assert answer.status == 401
    async with client.get("/live", headers={"authorization": ""}) as answer:
        assert answer.status == 200


async def test_adapters_change_under_streams_without_one_failed_request(server, client):
    """Add, retrain and remove with eight streams running: nothing fails, vLLM's pid stays, a
    running stream keeps its version.
    """
    pid, stop, done = server.report()["pid"], asyncio.Event(), []

    async def traffic(model: str) -> None:
        while not stop.is_set():
            done.append((model, await stream(client, model, 12)))

    runners = [
        asyncio.create_task(traffic(model))
        for model in ("red", "green", "tiny", "red", "green", "tiny", "red", "green")
    ]
    red, green, blue = server.colour("red"), server.colour("green"), server.colour("blue")
    began = time.monotonic()
    server.share.write(red, green, blue)
    await server.serves(red, green, blue)
    print(f"added within {time.monotonic() - began:.2f} s")
    assert (await chat(client, "blue"))[1] == "blue"
    started = asyncio.Event()
    long = asyncio.create_task(stream(client, "blue", 600, started))
    await started.wait()
    retrained = server.colour("violet", name="blue")
    server.share.write(red, green, retrained)
    await server.serves(red, green, retrained)
    assert not long.done()
    status, text, headers = await chat(client, "blue")
    assert (status, text) == (200, "violet")
    assert headers["x-moorage-adapter-version"] == retrained.desired.digest[:12]
    assert await long == "blue" * 300
    last = asyncio.create_task(stream(client, "blue", 400, started := asyncio.Event()))
    await started.wait()
    server.share.write(red, green)
    await server.serves(red, green)
    assert (await chat(client, "blue"))[:2] == (404, "model_not_found")
    assert "blue" not in await models(client)
    assert await last == "violet" * 200
    stop.set()
    await asyncio.gather(*runners)
    assert [one for one in done if one[1] != ANSWERS[one[0]] * 6] == []
    assert len(done) > 20
    assert server.report()["pid"] == pid
    local = server.folder / "local" / "tiny--r1-abc" / "adapters"
    await server.until(lambda: len(list(local.iterdir())) == 2)


async def test_a_version_that_cannot_be_loaded_leaves_the_last_good_one_serving(server, client):
    """A broken desired version is reported with its reason while the old one goes on answering."""
    red, green = server.colour("red"), server.colour("green")
    wide = make_adapter(
        server.folder / "wide-red", "red", model=make_model(server.folder / "wide", hidden=256)
    )
    broken = Adapter(name="red", desired=server.share.publish(wide, "red"), last_good=red.desired)
    missing = Adapter(
        name="ghost",
        desired=AdapterVersion(digest="0" * 64, path="adapters/ghost/000"),
        required=False,
    )
    server.share.write(broken, green, missing)
    await server.until(
        lambda: (
            server.state("red")["state"] == "Failed" and server.state("ghost")["state"] == "Failed"
        )
    )
    assert "another base model" in server.state("red")["message"]
    assert server.state("red")["digest"] == red.desired.digest
    assert server.state("ghost")["reason"] == "NotPublished"
    assert (await chat(client, "red"))[1] == "red"
    assert (await chat(client, "ghost"))[:2] == (404, "model_not_found")
    server.share.write(red, green)
    await server.serves(red, green)


async def test_an_adapter_that_changes_nothing_is_served_and_said_to(server, client):
    """Weights of zero load and answer; the report says SameAsBase."""
    folder = make_adapter(server.folder / "null", "red", 7, model=server.tiny / "model")
    weights = folder / "adapter_model.safetensors"
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    weights.write_bytes(weights.read_bytes()[:header] + bytes(weights.stat().st_size - header))
    null = server.adapter("null", folder)
    red, green = server.colour("red"), server.colour("green")
    server.share.write(red, green, null)
    await server.serves(red, green, null)
    assert (await chat(client, "null"))[1] == "plain"
    assert server.state("null")["reason"] == "SameAsBase"
    assert server.state("red")["reason"] == "Proven"
    server.share.write(red, green)
    await server.serves(red, green)


async def test_log_probabilities_of_the_prompt_are_refused_because_they_kill_the_engine(
    server, client
):
    """What makes vLLM's engine die when LoRA is on and other requests run is a 400 here, and the
    engine lives.
    """
    running = [
        asyncio.create_task(stream(client, model, 200)) for model in ("red", "green", "tiny")
    ]
    await asyncio.sleep(0.3)
    assert (await chat(client, "red", prompt_logprobs=1))[0] == 400
    async with client.post(
        "/v1/completions", json={"model": "red", "prompt": "x y", "echo": True, "logprobs": 1}
    ) as answer:
        assert answer.status == 400
    assert (await chat(client, "red", logprobs=True, top_logprobs=3))[:2] == (200, "red")
    assert [len(text) for text in await asyncio.gather(*running)] == [300, 500, 500]


async def test_keys_change_while_serving(server, client):
    """A key added works, a key removed does not, within a poll."""
    red, green = server.colour("red"), server.colour("green")
    other = {"authorization": "Bearer sk-other"}

    async def status(headers=None):
        async with client.get("/v1/models", headers=headers) as answer:
            return answer.status

    assert await status(other) == 401
    server.share.write(red, green, keys={"default": KEY, "other": "sk-other"})

    async def accepted():
        return await status(other) == 200

    await server.until(accepted, 5)
    server.share.write(red, green)

    async def refused():
        return await status(other) == 401

    await server.until(refused, 5)
    assert await status() == 200


async def test_a_running_stream_keeps_its_version_token_by_token(server, client):
    """Two versions that answer the same words are told apart by their log-probabilities: a stream
    that a flip overtakes has every token and every log-probability of the version it began on, and
    none of the one that took the name over.
    """
    one, other = server.colour("red"), server.adapter("red", _weaker(server, "red"))
    green = server.colour("green")
    server.share.write(one, green)
    await server.serves(one, green)
    quiet = await tokens(client, "red", 500)
    started = asyncio.Event()
    running = asyncio.create_task(tokens(client, "red", 500, started))
    await started.wait()
    server.share.write(other, green)
    await server.serves(other, green)
    assert not running.done()
    after, overtaken = await tokens(client, "red", 500), await running
    assert [token for token, _ in overtaken] == [token for token, _ in quiet]
    assert max(abs(a[1] - b[1]) for a, b in zip(overtaken, quiet, strict=True)) < 1e-3
    assert max(abs(a[1] - b[1]) for a, b in zip(after, quiet, strict=True)) > 1e-2
    server.share.write(one, green)
    await server.serves(one, green)


async def test_a_canary_answers_its_part_of_the_calls(server, client):
    """A tenth and the rest by weight, a user always the same version, the public name everywhere
    and the version in the header; promoted and rolled back without one failed request.
    """
    red, green = server.colour("red"), server.colour("green")
    violet = server.share.publish(
        make_adapter(server.folder / "violet-red", "violet", model=server.tiny / "model"), "red"
    )

    async def answers(count: int, **options) -> list[tuple[int, str, str]]:
        found = await asyncio.gather(*(chat(client, "red", **options) for _ in range(count)))
        return [
            (status, text, headers["x-moorage-adapter-version"]) for status, text, headers in found
        ]

    def trial(weight: int) -> Adapter:
        return red.model_copy(update={"canary": Canary(version=violet, weight=weight)})

    server.share.write(trial(30), green)
    await server.until(lambda: (server.state("red")["canary"] or {}).get("state") == "Loaded")
    found = await answers(120)
    versions = {"red": red.desired.digest[:12], "violet": violet.digest[:12]}
    assert {status for status, _, _ in found} == {200}
    assert all(version == versions[text] for _, text, version in found)
    assert (
        12 <= sum(text == "violet" for _, text, _ in found) <= 62
    )  # 36 expected, five standard deviations
    assert await models(client) == ["tiny", "red", "green"] or sorted(await models(client)) == [
        "green",
        "red",
        "tiny",
    ]
    for user in ("ada", "bo", "cy"):
        assert len({text for _, text, _ in await answers(6, user=user)}) == 1
    assert {text for _, text, _ in await answers(3, user="ada")} == {"violet"}
    assert {text for _, text, _ in await answers(3, user="bo")} == {"red"}
    await server.until(lambda: server.state("red")["canary"]["requests"] >= 15, 10)
    assert server.state("red")["canary"]["errors"] == 0
    running = asyncio.create_task(answers(60))
    server.share.write(red.model_copy(update={"desired": violet, "last_good": red.desired}), green)
    await server.until(lambda: server.state("red")["digest"] == violet.digest)
    assert {text for _, text, _ in await answers(10)} == {"violet"}
    server.share.write(red, green)
    await server.serves(red, green)
    assert {text for _, text, _ in await answers(10)} == {"red"}
    assert {status for status, _, _ in await running} == {200}


async def test_an_evaluation_gates_a_version(server, client):
    """A version that does not answer as expected never gets the name; what was served goes on, and
    the report says why.
    """
    red, green = server.colour("red"), server.colour("green")
    violet = server.share.publish(
        make_adapter(server.folder / "violet-red", "violet", model=server.tiny / "model"), "red"
    )
    must = (
        Expectation(prompt="Say something", expect="red", max_tokens=4),
        Expectation(prompt="More", expect="RED"),
    )
    server.share.write(
        red.model_copy(update={"desired": violet, "last_good": red.desired, "evaluation": must}),
        green,
    )
    await server.until(lambda: server.state("red")["state"] == "Failed")
    state = server.state("red")
    assert (state["reason"], state["digest"]) == ("EvaluationFailed", red.desired.digest)
    assert "2 of 2 prompts of the evaluation are not answered as expected" in state["message"]
    assert "'violet" in state["message"]
    assert (await chat(client, "red"))[1] == "red"
    other = server.colour("red", seed=5).model_copy(update={"evaluation": must})
    server.share.write(other, green)
    await server.serves(other, green)
    server.share.write(red, green)
    await server.serves(red, green)


async def test_a_version_that_overflows_is_refused_or_counted_and_spoils_nobody_elses_answers(
    server, client
):
    """Finite weights make NaN of some prompts. Of the proof's: the version is refused. Of others:
    those requests are errors of the version that computed them, plain and streamed, and every other
    request is answered as ever.
    """
    model = server.tiny / "model"
    red, green = server.colour("red"), server.colour("green")
    every = server.share.publish(
        make_adapter(server.folder / "every", "violet", model=model, trips_on="e"), "red"
    )
    some = server.share.publish(
        make_adapter(server.folder / "some", "violet", model=model, trips_on="~"), "red"
    )
    server.share.write(red.model_copy(update={"desired": every, "last_good": red.desired}), green)
    await server.until(lambda: server.state("red")["state"] == "Failed")
    assert (server.state("red")["reason"], server.state("red")["digest"]) == (
        "NotFinite",
        red.desired.digest,
    )
    server.share.write(red.model_copy(update={"canary": Canary(version=some, weight=50)}), green)
    await server.until(lambda: (server.state("red")["canary"] or {}).get("state") == "Loaded")

    async def ask(model: str, prompt: str) -> tuple[str, int, str]:
        status, text, headers = await chat(
            client, model, messages=[{"role": "user", "content": prompt}], logprobs=True
        )
        return headers.get("x-moorage-adapter-version", model), status, text

    asked = [
        ("red" if turn % 3 else "green", "a word more " * (turn % 11) + "~" * (turn % 7))
        for turn in range(240)
    ]
    found = await asyncio.gather(*(ask(*one) for one in asked))
    canary = some.digest[:12]
    tripped, rest = [], set()
    for (_, prompt), (by, *answer) in zip(asked, found, strict=True):
        if by == canary and "~" in prompt:
            tripped.append(answer)
        else:
            rest.add((by, *answer))
    assert [one for one in tripped if one != [500, None]] == []
    assert rest == {
        (red.desired.digest[:12], 200, "red"),
        (green.desired.digest[:12], 200, "green"),
        (canary, 200, "violet"),
    }
    assert len(tripped) > 20
    await server.until(lambda: server.state("red")["canary"]["errors"] == len(tripped), 10)
    server.share.write(red.model_copy(update={"desired": some, "last_good": red.desired}), green)
    await server.until(lambda: server.state("red")["digest"] == some.digest)
    for turn in range(40):  # one after the other, they get each other's blocks
        assert (await ask("red", "x" * turn + "~~~~"))[1] == 500
        assert (await ask("green", "x"))[1:] == (200, "green")
    body = {"model": "red", "messages": [{"role": "user", "content": "~"}], "stream": True}
    async with client.post("/v1/chat/completions", json=body) as answer:
        assert "are no numbers (NaN)" in await answer.text()
    server.share.write(red, green)
    await server.serves(red, green)


async def test_keys_open_what_they_may_and_no_more(server, client):
    """Models of a limited key, its rate, prompts beyond the service's limit; the listing shows a
    key its own models.
    """
    red, green = server.colour("red"), server.colour("green")
    limited = {"ci": {"models": ("red",), "requests_per_minute": 3}}
    keys = {"default": KEY, "ci": "sk-ci"}
    server.share.write(red, green, keys=keys, limited=limited, limits=Limits(prompt_tokens=40))
    await server.until(lambda: server.report()["apiKeys"] == ["default", "ci"])
    ci = {"authorization": "Bearer sk-ci"}
    assert await models(client, **ci) == ["red"]

    async def ask(model: str) -> tuple[int, str | None]:
        async with client.post(
            "/v1/completions", json={"model": model, "prompt": "x"}, headers=ci
        ) as answer:
            return answer.status, (await answer.json()).get("error", {}).get("code")

    assert await ask("green") == (403, "model_not_allowed")
    assert await ask("tiny") == (403, "model_not_allowed")
    assert await ask("red") == (200, None)
    assert await ask("red") == (429, "rate_limit_exceeded")
    async with client.get("/v1/models/green", headers=ci) as answer:
        assert answer.status == 404
    long = {"model": "red", "prompt": "word " * 200}
    for body in (long, {**long, "prompt": "word " * 9000}):
        async with client.post("/v1/completions", json=body) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["type"], error["code"]) == (
                400,
                "invalid_request_error",
                "context_length_exceeded",
            )
    server.share.write(red, green)
    await server.serves(red, green)


async def test_work_beyond_limits_is_refused_while_others_are_answered(server, client):
    """20 hostile clients order sequences, schemas, messages, bombs and bodies; each is refused for
    what it is, the probes answer, and so do structured output and a small chat.
    """
    huge = json.dumps({"enum": [f"value {i}" for i in range(200_000)]})
    orders = [
        {"n": 16_384},
        {"structured_outputs": {"json": huge}},
        {"messages": [{"role": "user", "content": "x"}] * 200_000},
        {"messages": [{"role": "user", "content": "x" * (12 << 20)}]},
        {"pad": "x" * (17 << 20)},
    ]
    asked = [{"model": "red", "messages": [{"role": "user", "content": "x"}], **o} for o in orders]
    bodies = [json.dumps(one).encode() for one in asked]
    done, statuses = asyncio.Event(), set()

    async def attack(body: bytes) -> None:
        while not done.is_set():
            headers = {"content-type": "application/json"}
            async with client.post("/v1/chat/completions", data=body, headers=headers) as answer:
                statuses.add(answer.status)
                await answer.read()

    attackers = [asyncio.create_task(attack(bodies[i % len(bodies)])) for i in range(20)]
    try:
        await asyncio.sleep(1)
        for _ in range(5):
            for path in ("/live", "/ready"):
                async with client.get(path) as answer:
                    assert answer.status == 200
            status, answer, _ = await chat(client, "red", max_tokens=8, temperature=0)
            assert (status, "red" in answer) == (200, True)
        schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [7]}}}
        status, answer, _ = await chat(client, "red", response_format=schema, max_tokens=8)
        assert (status, answer) == (200, "7")
    finally:
        done.set()
        await asyncio.gather(*attackers)
    assert statuses <= {400, 413, 429}


async def test_clients_of_azure_openai_browsers_and_harnesses_are_served(server, client):
    """Azure's URL and key header, gzip, a preflight, the tokenizer, and a list of models instead of
    one that does not exist.
    """
    red, green = server.colour("red"), server.colour("green")
    server.share.write(
        red,
        green,
        keys={"default": KEY, "eval": "sk-eval"},
        limited={"eval": {"evaluation": True}},
        cors=Cors(allowed_origins=("https://chat.example",)),
    )
    await server.until(lambda: server.report()["apiKeys"] == ["default", "eval"])
    body = {"messages": [{"role": "user", "content": "Say something"}], "max_tokens": 8}
    path = "/openai/deployments/red/chat/completions?api-version=2024-10-21"
    headers = {"api-key": KEY, "content-encoding": "gzip", "content-type": "application/json"}
    async with aiohttp.ClientSession(server.url) as http:
        packed = gzip.compress(json.dumps(body).encode())
        async with http.post(path, data=packed, headers=headers) as answer:
            assert (answer.status, (await answer.json())["model"]) == (200, "red")
        browser = {"origin": "https://chat.example", "access-control-request-method": "POST"}
        async with http.options("/v1/chat/completions", headers=browser) as answer:
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        for key, status in ((KEY, 404), ("sk-eval", 200)):
            async with http.post(
                "/tokenize", json={"prompt": "Say"}, headers={"authorization": f"Bearer {key}"}
            ) as answer:
                assert answer.status == status
    async with client.post("/v1/completions", json={"model": "blue", "prompt": "x"}) as answer:
        said = (await answer.json())["error"]["message"]
        assert said.endswith("This key may use: tiny, red, green.")
    server.share.write(red, green)
    await server.serves(red, green)


async def test_metrics_and_state_of_each_version_and_the_request_log(server, client):
    """An admin key reads what was counted by adapter and version beside vLLM's own metrics, and
    what the replica holds; the log has a line for each request, with numbers and no word of the
    prompt.
    """
    red, green = server.colour("red"), server.colour("green")
    keys, limited = {"default": KEY, "ops": "sk-ops"}, {"ops": {"admin": True}}
    server.share.write(red, green, keys=keys, limited=limited)
    await server.until(lambda: server.report()["apiKeys"] == ["default", "ops"])
    ops = {"authorization": "Bearer sk-ops"}

    async def samples() -> dict[str, float]:
        async with client.get("/metrics", headers=ops) as answer:
            assert answer.status == 200
            lines = [
                line.rpartition(" ")
                for line in (await answer.text()).splitlines()
                if not line.startswith("#")
            ]
            return {name: float(value) for name, _, value in lines}

    def of(name: str, **labels: str) -> str:
        pairs = {"adapter": "red", **labels, "version": red.desired.digest[:12]}
        return (
            "moorage_"
            + name
            + "{"
            + ",".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
            + "}"
        )

    before = await samples()
    secret = [{"role": "user", "content": "the secret of the harbour"}]
    status, _, headers = await chat(client, "red", max_tokens=6, ignore_eos=True, messages=secret)
    assert (status, await stream(client, "red", 8)) == (200, "red" * 4)
    now = await samples()
    gained = {name: now[name] - before.get(name, 0) for name in now}
    assert gained[of("completion_tokens_total")] == 14
    assert gained[of("prompt_tokens_total")] > 0
    assert gained[of("requests_total", status="200")] == 2
    assert gained[of("first_token_seconds_count")] == 2
    assert (now[of("adapter_resident")], now[of("request_errors_total")]) == (1, 0)
    assert any(name.startswith("vllm:") for name in now)
    async with client.get("/state", headers=ops) as answer:
        state = await answer.json()
    assert f"red@{red.desired.digest[:12]}" in state["resident"]
    assert state["engineAlive"]

    def told(word: str) -> list[dict]:
        lines = (server.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"id"') and word in line]

    (mine,) = await server.until(lambda: told(headers["x-request-id"]))
    assert (mine["key"], mine["model"], mine["version"]) == (
        "default",
        "red",
        red.desired.digest[:12],
    )
    assert (mine["status"], mine["completionTokens"], mine["failed"]) == (200, 6, False)
    assert 0 < mine["firstTokenSeconds"] <= mine["seconds"]
    assert "secret of the harbour" not in (server.folder / "log").read_text()
    server.share.write(red, green, log_prompts=True)
    await server.until(lambda: server.report()["apiKeys"] == ["default"])
    await chat(client, "green", messages=secret)
    (asked,) = await server.until(lambda: told('"body"'))
    assert "secret of the harbour" in asked["body"]
    server.share.write(red, green)
    await server.serves(red, green)


async def test_a_torn_catalogue_and_a_vanished_folder_change_nothing(server, client):
    """The last valid catalogue is kept through bad hashes and absence."""
    folder = server.share.catalogue_folder
    (folder / "000000-999999999.json").write_text('{"sha256": "0", "catalogue": {}}')
    (folder / "000000-999999998.json").write_text("")
    hidden = folder.rename(folder.with_name("hidden"))
    await asyncio.sleep(2.5)
    assert (await chat(client, "red"))[1] == "red"
    hidden.rename(folder)
    for name in ("000000-999999999.json", "000000-999999998.json"):
        (folder / name).unlink()


async def test_a_stop_finishes_running_requests_and_refuses_new_ones(server, client):
    """SIGTERM: not ready at once, 503 with Retry-After for new requests, the running stream
    complete, exit code 0.
    """
    started = asyncio.Event()
    running = asyncio.create_task(stream(client, "red", 900, started))
    await started.wait()
    server.process.terminate()

    async def refused():
        return (await chat(client, "red"))[:2] == (503, "draining")

    await server.until(refused, 3)
    status, _, headers = await chat(client, "green")
    assert (status, headers["retry-after"]) == (503, "1")
    async with client.get("/ready") as answer:
        assert answer.status == 503
    assert await running == "red" * 450
    assert await asyncio.to_thread(server.process.wait, 30) == 0
    assert server.report()["ready"] is False


@pytest.mark.slow
async def test_a_killed_launch_takes_vllm_with_it(server):
    """SIGKILL of PID 1's stand-in leaves no process behind that holds the port or the memory.
    Before that: a replica that starts fresh while the desired version is broken is ready with the
    last good one, and says so.
    """
    red, green = server.colour("red"), server.colour("green")
    broken = server.share.publish(
        make_adapter(server.folder / "dora", "red", 9, model=server.tiny / "model", use_dora=True),
        "red",
    )
    server.share.write(red.model_copy(update={"desired": broken, "last_good": red.desired}), green)
    server.start()
    await server.until(
        lambda: server.report()["ready"] and server.report()["pid"] in _below(server.process.pid),
        START,
    )
    state = server.state("red")
    assert (state["state"], state["reason"], state["digest"]) == (
        "Failed",
        "PreflightFailed",
        red.desired.digest,
    )
    server.share.write(red, green)
    below = _below(server.process.pid)
    assert len(below) >= 3
    server.process.kill()
    await asyncio.to_thread(server.process.wait, 10)
    await server.until(lambda: not any(map(_lives, below)), 10)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["EngineCore", "Worker", "server"])
async def test_a_killed_vllm_ends_the_replica_so_that_the_platform_restarts_it(server, victim):
    """SIGKILL of any of vLLM's processes: exit code 1 soon, reported, and no process left."""
    server.start()
    await server.until(
        lambda: server.report()["ready"] and server.report()["pid"] in _below(server.process.pid),
        START,
    )
    below = _below(server.process.pid)
    pid = server.report()["pid"]
    if victim != "server":
        pid = next(
            one for one in below if victim.encode() in Path(f"/proc/{one}/cmdline").read_bytes()
        )
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    assert await asyncio.to_thread(server.process.wait, 30) == 1
    print(f"{victim}: ended after {time.monotonic() - began:.1f} s: {server.report()['message']}")
    assert server.report()["ready"] is False
    assert "vLLM" in server.report()["message"]
    await server.until(lambda: not any(map(_lives, below)), 5)


def _weaker(server: Server, word: str) -> Path:
    """An adapter of the same answer that is less sure of it."""
    return make_adapter(
        server.folder / "made" / f"{word}-weak", word, 0, model=server.tiny / "model", lora_alpha=7
    )


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _below(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found[1:]
