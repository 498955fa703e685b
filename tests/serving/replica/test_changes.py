"""How the versions behind a name change in a replica that serves: no request fails, no version that is
broken is served.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from serving.catalogue import Adapter, AdapterVersion, Canary, Expectation
from tests.serving.replica.server import (
    chat,
    make_weaker,
    models,
    scaled,
    stream,
    tokens,
)
from tests.tiny_model import make_adapter, make_model

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.vital, pytest.mark.timeout(900)]
ANSWERS = {"red": "red", "green": "green", "tiny": "plain"}


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
    long = asyncio.create_task(stream(client, "blue", 1800, started))
    await started.wait()
    retrained = server.colour("violet", name="blue")
    server.share.write(red, green, retrained)
    await server.serves(red, green, retrained)
    assert not long.done()
    status, text, headers = await chat(client, "blue")
    assert (status, text) == (200, "violet")
    assert headers["x-moorage-adapter-version"] == retrained.desired.digest[:12]
    assert await long == "blue" * 900
    last = asyncio.create_task(stream(client, "blue", 600, started := asyncio.Event()))
    await started.wait()
    server.share.write(red, green)
    await server.serves(red, green)
    assert (await chat(client, "blue"))[:2] == (404, "model_not_found")
    assert "blue" not in await models(client)
    assert await last == "violet" * 300
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


async def test_an_adapter_that_changes_nothing_is_told(server, client):
    """Weights of zero are refused. What is so small that it changes nothing is served, and told as
    SameAsBase; the others beside it are served and proven.
    """
    red, green = server.colour("red"), server.colour("green")
    null = server.adapter("null", scaled(server, "null", 0.0))
    faint = server.adapter("faint", scaled(server, "faint", 1e-6))
    server.share.write(red, green, null, faint)
    await server.until(lambda: server.state("null")["state"] == "Failed")
    await server.until(lambda: server.state("faint")["state"] == "Loaded")
    assert "lora_B is zero in every module" in server.state("null")["message"]
    assert server.state("faint")["reason"] == "SameAsBase"
    assert server.state("red")["reason"] == "Proven"
    assert (await chat(client, "faint"))[1] == (await chat(client, "tiny"))[1] == "plain"
    assert (await chat(client, "red"))[1] == "red"
    assert (await chat(client, "null"))[:2] == (404, "model_not_found")
    server.share.write(red, green)
    await server.serves(red, green)


async def test_a_running_stream_keeps_its_version_token_by_token(server, client):
    """Two versions that answer the same words are told apart by their log-probabilities: a stream
    that a flip overtakes has every token and every log-probability of the version it began on, and
    none of the one that took the name over.
    """
    one, other = server.colour("red"), server.adapter("red", make_weaker(server, "red"))
    green = server.colour("green")
    server.share.write(one, green)
    await server.serves(one, green)
    quiet = await tokens(client, "red", 1500)
    started = asyncio.Event()
    running = asyncio.create_task(tokens(client, "red", 1500, started))
    await started.wait()
    server.share.write(other, green)
    await server.serves(other, green)
    assert not running.done()
    after, overtaken = await tokens(client, "red", 1500), await running
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


async def test_a_torn_catalogue_and_a_vanished_folder_change_nothing(server, client):
    """The last valid catalogue is kept through bad hashes and absence."""
    folder = server.share.catalogue_folder
    (folder / "000000-999999999.json").write_text('{"sha256": "0", "catalogue": {}}')
    (folder / "000000-999999998.json").write_text("")
    hidden = folder.rename(folder.with_name("hidden"))
    try:
        await asyncio.sleep(2.5)
        assert (await chat(client, "red"))[1] == "red"
    finally:  # the replica is shared: without its catalogue all tests after this one fail
        hidden.rename(folder)
    for name in ("000000-999999999.json", "000000-999999998.json"):
        (folder / name).unlink()
