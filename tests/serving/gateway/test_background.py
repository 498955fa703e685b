"""OpenAI's own way of waiting: a response in the background is kept until it is fetched, whatever
sleeps, breaks or is killed meanwhile.
"""

import asyncio
import json
import os
import time
from datetime import UTC, datetime, timedelta

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway import background as module
from serving.gateway.background import Background
from serving.gateway.passage import Patience
from serving.gateway.response_events import EventWriter
from serving.gateway.routes import StartFault
from serving.gateway.stored import ResponseFiles, StoredRequest
from tests.serving.gateway.conftest import ENVIRONMENT_KEY, SERVICE_KEY
from tests.serving.gateway.stand_in import StandIn

QUICK = Patience(stream=30, comments=0.05, silent=0.3)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "BEAT", 0.1)
    monkeypatch.setattr(module, "FLUSH", 0.05)
    monkeypatch.setattr(module, "BUSY", 0.1)
    monkeypatch.setattr(module, "SELDOM", 0.2)


def client(gateway, key=ENVIRONMENT_KEY):
    return openai.AsyncOpenAI(api_key=key, base_url=f"{gateway.url}/v1", max_retries=0)


async def _finished(asking, name):
    async with asyncio.timeout(90):
        while (found := await asking.responses.retrieve(name)).status in ("queued", "in_progress"):
            await asyncio.sleep(0.05)
    return found


async def test_a_response_waits_in_the_background_for_a_service_that_sleeps(gateways):
    """The unmodified client gets an id at once and the answer when it asks later; the service was
    woken for it, and the usage is counted.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    assert (taken.status, taken.background) == ("queued", True)
    assert (await asking.responses.retrieve(taken.id)).status == "queued"
    phi.awake.set()
    found = await _finished(asking, taken.id)
    assert (found.status, found.id, found.output_text) == ("completed", taken.id, "one two three ")
    ((path, body, headers),) = phi.seen
    assert (path, body["stream"], "background" in body) == ("/v1/responses", True, False)
    assert headers["x-moorage-key-name"] == "team"
    used = gateway.world.usage.totals["team", "phi"]
    assert (used.requests, used.input_tokens, used.output_tokens) == (1, 7, 3)


async def test_a_response_that_is_being_stored_is_made_once(gateways, monkeypatch):
    """The look for responses whose gateway is gone takes no request for abandoned that this gateway
    still writes, however slow the share is.
    """
    phi = StandIn()
    gateway = await gateways(patience=QUICK, phi=phi)
    files = gateway.background._files
    create = files.create

    def slowly(stored):
        create(stored)
        time.sleep(0.4)  # several looks

    monkeypatch.setattr(files, "create", slowly)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    assert (await _finished(asking, taken.id)).status == "completed"
    assert len(phi.seen) == 1


async def test_a_stream_is_resumed_where_it_was_cut(gateways):
    """Events carry numbers; `starting_after` goes on behind the one that was read last, while the
    response is made and after it.
    """
    phi = StandIn(words=tuple("abcdefgh"))
    phi.pause = 0.05
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    stream = await asking.responses.create(model="phi", input="hi", background=True, stream=True)
    seen, name = [], ""
    async for event in stream:
        seen.append(event)
        name = name or event.response.id
        if event.type == "response.output_text.delta" and event.delta == "c ":
            break
    await stream.close()
    at = seen[-1].sequence_number
    assert [event.sequence_number for event in seen] == list(range(at + 1))
    rest = await asking.responses.retrieve(name, stream=True, starting_after=at)
    seen += [event async for event in rest]
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert text == "a b c d e f g h "
    assert seen[-1].type == "response.completed"
    assert seen[-1].response.id == name
    again = await asking.responses.retrieve(name, stream=True, starting_after=len(seen) - 2)
    assert [event.type async for event in again] == ["response.completed"]


async def test_a_response_is_cancelled_and_deleted(gateways):
    """`cancel` ends the work at the service; a deleted response is gone."""
    phi = StandIn(words=("word",) * 500)
    phi.pause = 0.02
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    async with asyncio.timeout(90):
        while not phi.running:
            await asyncio.sleep(0.01)
    assert (await asking.responses.cancel(taken.id)).status == "cancelled"
    assert (await asking.responses.retrieve(taken.id)).status == "cancelled"
    async with asyncio.timeout(90):
        while phi.running:
            await asyncio.sleep(0.01)
    stream = await asking.responses.retrieve(taken.id, stream=True, starting_after=0)
    assert [event.type async for event in stream][-1] == "response.cancelled"
    assert (await asking.responses.cancel(taken.id)).status == "cancelled"
    await asking.responses.delete(taken.id)
    with pytest.raises(openai.NotFoundError):
        await asking.responses.retrieve(taken.id)
    assert not list((gateway.data / "responses").iterdir())
    used = gateway.world.usage.totals["team", "phi"]
    assert (used.requests, used.errors) == (1, 0), "that its caller cancels it is no error"


async def test_nobody_else_sees_a_response(gateways):
    """To another key it does not exist, and no name leads out of the folder of responses."""
    gateway = await gateways(phi=StandIn())
    taken = await client(gateway).responses.create(model="phi", input="hi", background=True)
    other = client(gateway, SERVICE_KEY)
    for ask in (other.responses.retrieve, other.responses.cancel, other.responses.delete):
        with pytest.raises(openai.NotFoundError):
            await ask(taken.id)
    for name in ("resp_x", "..", "resp_" + "0" * 31 + "%2f", "resp_" + "0" * 32 + "/../x"):
        async with gateway.get(f"/v1/responses/{name}") as answer:
            assert answer.status == 404
    async with gateway.post(f"/v1/responses/{taken.id}") as answer:
        assert answer.status == 405
    async with gateway.get(f"/v1/responses/{taken.id}?stream=true&starting_after=x") as answer:
        assert answer.status == 400


async def test_a_response_survives_the_gateways_death(gateways, tmp_path):
    """Another gateway takes over what was abandoned and makes it; what the first one's key asked
    is still its own.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    # Killed: nothing is released, and its heartbeat grows old.
    gateway.background._care.cancel()
    for task in gateway.background._tasks.values():
        task.cancel()
    gateway.background._tasks = {}
    owner = gateway.data / "responses" / taken.id / "owner.json"
    owner.write_text(json.dumps({"replica": "dead"}))
    past = time.time() - 60
    os.utime(owner, (past, past))
    phi.awake.set()
    heir = Background(gateway.world)
    await heir.start()
    try:
        found = await _finished(asking, taken.id)
    finally:
        await heir.close()
    assert (found.status, found.output_text) == ("completed", "one two three ")


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
async def test_a_response_of_a_gateway_with_another_clock_is_left_to_it(gateways, hours):
    """Only the share tells how old its claim is; otherwise two would make the response."""
    gateway = await gateways(patience=QUICK, phi=StandIn(awake=False))
    taken = await client(gateway).responses.create(model="phi", input="hi", background=True)
    name = taken.id
    beat = time.time() + hours * 3600
    owner = gateway.data / "responses" / name / "owner.json"
    owner.write_text(json.dumps({"replica": "other", "heartbeat": beat}))
    found, quiet = gateway.background._files.owner(name)
    assert found == "other"
    assert abs(quiet) < 20


async def test_a_gateway_that_ends_leaves_its_responses_to_the_next(gateways):
    """What is not done when a gateway closes is taken over at once, without waiting for its
    heartbeat to grow old.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    await gateway.background.close()
    heir = Background(gateway.world)
    await heir.start()
    gateway.background._thread = heir._thread  # the closed one still answers here
    phi.awake.set()
    try:
        assert (await _finished(asking, taken.id)).status == "completed"
    finally:
        await heir.close()
    used = gateway.world.usage.totals["team", "phi"]
    assert (used.requests, used.errors) == (1, 0), "one request, whoever makes it"


async def test_an_answer_that_is_cut_is_made_anew(gateways):
    """A replica that dies in the middle costs time and nothing else: the events begin again."""
    phi = StandIn()
    phi.failures = ["cut while it answers"]
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    found = await _finished(asking, taken.id)
    assert found.output_text == "one two three "
    assert len(phi.seen) == 2
    stream = await asking.responses.retrieve(taken.id, stream=True, starting_after=-1)
    numbers = [event.sequence_number async for event in stream]
    assert numbers == list(range(len(numbers)))
    used = gateway.world.usage.totals["team", "phi"]
    assert (used.requests, used.errors) == (1, 0)


async def test_an_answer_that_is_always_cut_fails_in_words(gateways):
    """After the third cut the response says what happened."""
    phi = StandIn()
    phi.failures = ["cut while it answers"] * 3
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    found = await _finished(asking, taken.id)
    assert found.status == "failed"
    assert found.error.message == "The service ended its answer early, 3 times."


@pytest.mark.parametrize(
    ("failure", "code"),
    [((400, {"error": {"message": "too long", "code": "context_length_exceeded"}}), None)],
)
async def test_a_refused_request_is_a_failed_response(gateways, failure, code):
    """What the service says no to is the response's error, and its last event."""
    phi = StandIn()
    phi.failures = [failure]
    gateway = await gateways(patience=QUICK, phi=phi)
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    found = await _finished(asking, taken.id)
    assert (found.status, found.error.code) == ("failed", "context_length_exceeded")
    assert found.error.message == "too long"


async def test_a_service_that_cannot_start_fails_its_responses(gateways):
    """The cause is in the response's error."""
    fault = StartFault(reason="QuotaExceeded", message="no GPU is left")
    gateway = await gateways(phi=StandIn(awake=False), routes={"phi": {"stopped": fault}})
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    found = await _finished(asking, taken.id)
    assert found.status == "failed"
    assert "no GPU is left (QuotaExceeded)" in found.error.message


async def test_a_share_that_takes_no_file_is_told(gateways):
    """A response that cannot be kept is refused, and costs the key nothing."""
    gateway = await gateways(phi=StandIn())
    (gateway.data).mkdir(exist_ok=True)
    (gateway.data / "responses").write_bytes(b"no folder")
    with pytest.raises(openai.InternalServerError, match="cannot be stored"):
        await client(gateway).responses.create(model="phi", input="hi", background=True)


async def test_old_and_fetched_responses_are_removed(gateways):
    """A response is kept for a day, or for ten minutes after it was fetched; what was never whole
    goes as well.
    """
    gateway = await gateways(phi=StandIn())
    asking = client(gateway)
    kept = await asking.responses.create(model="phi", input="hi", background=True)
    fetched = await asking.responses.create(model="phi", input="hi", background=True)
    await _finished(asking, fetched.id)
    folder = gateway.data / "responses"
    past = time.time() - 700
    os.utime(folder / fetched.id / "fetched", (past, past))
    files = ResponseFiles(gateway.data, "other")
    old = StoredRequest(
        id="resp_" + "1" * 32,
        caller="team",
        model="phi",
        created_at=datetime.now(UTC) - timedelta(days=1, minutes=1),
        body={},
    )
    files.create(old)
    (folder / ("resp_" + "2" * 32)).mkdir()
    (folder / "stray").mkdir()
    async with asyncio.timeout(90):
        while {path.name for path in folder.iterdir()} != {kept.id, "stray"}:
            await asyncio.sleep(0.05)


async def test_finished_responses_cost_no_looks(gateways, monkeypatch):
    """Thousands that wait to be fetched are not read again at every turn."""
    monkeypatch.setattr(module, "SELDOM", 60)
    gateway = await gateways(phi=StandIn())
    asking = client(gateway)
    taken = await asking.responses.create(model="phi", input="hi", background=True)
    await _finished(asking, taken.id)
    read, request = [], gateway.background._files.request
    monkeypatch.setattr(
        gateway.background._files, "request", lambda name: read.append(name) or request(name)
    )
    await asyncio.sleep(1)
    assert len(read) <= 1


STORED = StoredRequest(
    id="resp_" + "a" * 32, caller="team", model="phi", created_at=datetime.now(UTC), body={}
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=40))
def test_events_are_the_same_however_they_are_cut(cuts):
    """Pieces of any size give the same lines, with numbers in order and the response's own id."""
    whole = b": a comment\n\n" + b"".join(
        f"event: x\ndata: {json.dumps(event)}\n\n".encode()
        for event in (
            {"type": "response.created", "sequence_number": 0, "response": {"id": "vllm"}},
            {"type": "response.output_text.delta", "sequence_number": 1, "delta": "hé\n\n"},
            {"type": "response.completed", "sequence_number": 2, "response": {"id": "vllm"}},
        )
    )
    writer, lines, at = EventWriter(STORED), b"", 0
    lines += writer.opening()
    for cut in [*cuts, len(whole)]:
        lines += writer.take(whole[at : at + cut])
        at += cut
    events = [json.loads(line) for line in lines.splitlines()]
    assert [event["sequence_number"] for event in events] == [0, 1, 2, 3]
    assert [event["type"].rpartition(".")[2] for event in events] == [
        "created",
        "queued",
        "delta",
        "completed",
    ]
    assert events[2]["delta"] == "hé\n\n"
    assert (writer.final["id"], writer.final["background"]) == (STORED.id, True)
