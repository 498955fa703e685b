"""What a replica answers to whom: models, routes, keys, metrics and the request log."""

from __future__ import annotations

import asyncio
import gzip
import json

import aiohttp
import pytest

from serving.catalogue import Cors, Limits
from tests.serving.replica.server import (
    chat,
    models,
    stream,
)
from tests.serving.replica_share import KEY

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.vital, pytest.mark.timeout(900)]


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
    # As evaluation harnesses ask: several prompts of token ids, and many requests at once.
    body = {"model": "red", "prompt": [[1, 2, 3], [2, 3]], "echo": True, "logprobs": 1}

    async def evaluated() -> int:
        async with client.post("/v1/completions", json={**body, "max_tokens": 1}) as answer:
            return answer.status

    assert set(await asyncio.gather(*(evaluated() for _ in range(40)))) == {400}
    assert (await chat(client, "red", logprobs=True, top_logprobs=3))[:2] == (200, "red")
    assert [len(text) for text in await asyncio.gather(*running)] == [300, 500, 500]


async def test_keys_change_while_serving(server, client):
    """A key added works, a key removed does not, within a poll; so does what is said of a model."""
    red, green = server.colour("red"), server.colour("green")
    green = green.model_copy(update={"shutdown_date": "2027-01-31"})
    other = {"authorization": "Bearer sk-other"}

    async def status(headers=None):
        async with client.get("/v1/models", headers=headers) as answer:
            return answer.status

    assert await status(other) == 401
    server.share.write(red, green, keys={"default": KEY, "other": "sk-other"})

    async def accepted():
        return await status(other) == 200

    await server.until(accepted, 5)
    async with client.get("/v1/models") as answer:
        models = {one["id"]: one.get("shutdown_date") for one in (await answer.json())["data"]}
    assert models == {"tiny": None, "red": None, "green": "2027-01-31"}
    server.share.write(red, green)

    async def refused():
        return await status(other) == 401

    await server.until(refused, 5)
    assert await status() == 200


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

    async def counted():
        now, name = await samples(), of("requests_total", status="200")
        return now if now.get(name, 0) - before.get(name, 0) >= 2 else None

    now = await server.until(counted)
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
        said, _, names = (await answer.json())["error"]["message"].partition(" This key may use: ")
        assert said == "The model `blue` does not exist."
        assert set(names.rstrip(".").split(", ")) == {"tiny", "red", "green"}
    server.share.write(red, green)
    await server.serves(red, green)
