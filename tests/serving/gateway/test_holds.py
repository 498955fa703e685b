"""A sleeping service is woken once, and whoever asks for it is held, told how far it is, and
answered.
"""

import asyncio
import json
import os
import re
import time
from datetime import UTC, datetime, timedelta

import openai
import pytest

from serving.catalogue import ReplicaReport
from serving.gateway.passage import Patience
from serving.gateway.routes import HoldLimits, RoutedModel, StartFault
from tests.patience import LEAST
from tests.serving.gateway.conftest import ENVIRONMENT_KEY, key
from tests.serving.gateway.stand_in import StandIn

QUICK = Patience(stream=30, comments=0.05, silent=0.3)


def client(gateway, **more):
    return openai.AsyncOpenAI(api_key=ENVIRONMENT_KEY, base_url=f"{gateway.url}/v1", **more)


async def test_an_unmodified_client_streams_through_a_start(gateways):
    """OpenAI's client reads the stream of a service that slept as it reads any other; the headers
    come at once.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi)
    stream = await client(gateway).chat.completions.create(
        model="phi", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert not phi.seen, "the headers came before the service was awake"
    asyncio.get_running_loop().call_later(0.3, phi.awake.set)
    words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words) == "one two three "


async def test_an_unmodified_client_gets_its_answer_through_a_start(gateways):
    """A plain request is held until the service answers."""
    gateway = await gateways(patience=QUICK, phi=StandIn(awake=False, starts_in=0.5))
    answer = await client(gateway).chat.completions.create(
        model="phi", messages=[{"role": "user", "content": "hi"}]
    )
    assert answer.choices[0].message.content == "one two three"


async def test_a_clients_own_retry_succeeds(gateways):
    """Beyond `hold.seconds` a plain caller gets 503 with the seconds left, the start goes on, and
    OpenAI's client comes back by itself.
    """
    phi = StandIn(awake=False, starts_in=1.0)
    gateway = await gateways(
        patience=QUICK, more={"hold": HoldLimits(seconds=0.2)}, phi=phi, routes=_soon()
    )
    async with gateway.post() as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (503, "starting")
        assert error["seconds_left"] == int(answer.headers["retry-after"]) == 1
        assert "phi is starting" in error["message"]
    answer = await client(gateway, max_retries=3).chat.completions.create(
        model="phi", messages=[{"role": "user", "content": "hi"}]
    )
    assert answer.choices[0].message.content == "one two three"
    assert phi.asked["/ready"] == 1


def _soon():
    return {"phi": {"predicted": {"seconds": 1}}}


async def test_a_caller_may_wait_for_less(gateways):
    """X-Scale-Up-Timeout shortens what the routes allow, and never lengthens it."""
    phi = StandIn(awake=False)
    for hold, given, least, most in (
        (60, "0.05", 0, 30),
        (0.3, "60", 0.3, 30),
        (0.3, "nan", 0.3, 30),
        (0.3, "x", 0.3, 30),
    ):
        gateway = await gateways(patience=QUICK, more={"hold": HoldLimits(seconds=hold)}, phi=phi)
        began = time.monotonic()
        async with gateway.post(headers={"x-scale-up-timeout": given}) as answer:
            assert answer.status == 503
            assert answer.headers["retry-after"] == "59"
        assert least <= time.monotonic() - began < most, given


async def _ask(gateway, number, **more):
    messages = [{"role": "user", "content": str(number)}]
    async with gateway.post(messages=messages, **more) as answer:
        await answer.read()
        return answer.status


async def _until(condition, seconds=LEAST):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def test_beyond_the_line_nobody_waits(gateways):
    """The line is bounded; who comes when it is full is told to come again, and a place that
    somebody left is free.
    """
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, more={"hold": HoldLimits(max_requests=2)}, phi=phi)
    waiting = [asyncio.create_task(_ask(gateway, number)) for number in range(2)]
    line = gateway.world.backends["phi"].line
    await _until(lambda: len(line) == 2)
    for stream in (False, True):
        async with gateway.post(stream=stream) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"]) == (503, "too_many_waiting")
            assert int(answer.headers["retry-after"]) >= 1
    waiting[0].cancel()
    await _until(lambda: len(line) == 1)
    third = asyncio.create_task(_ask(gateway, 3))
    await _until(lambda: len(line) == 2)
    phi.awake.set()
    assert await asyncio.gather(waiting[1], third) == [200, 200]


async def test_a_stream_is_told_the_stages(gateways):
    """Comments come every few seconds and speak of the stage that a replica's report proves."""
    phi = StandIn(awake=False)
    folder = "services/phi/e/replicas"
    gateway = await gateways(patience=QUICK, phi=phi, routes={"phi": {"reports": folder}})
    async with gateway.post(stream=True) as answer:
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        line = (await answer.content.readline()).decode()
        assert line == ": moorage phi is starting: 1 of 3 waiting for a machine, about 90 s left\n"
        _report(gateway, folder, model_loaded=False)
        async with asyncio.timeout(90):
            while not re.search(r"2 of 3 reading weights, about (80|7\d) s left", line):
                line = (await answer.content.readline()).decode()
        _report(gateway, folder, model_loaded=True, ready=True)
        phi.awake.set()
        text = (await answer.content.read()).decode()
    assert text.rstrip().endswith("data: [DONE]")


def _report(gateway, folder, **more):
    now = datetime.now(UTC)
    values = {"replica": "a", "revision": "r", "pid": 1, "started_at": now, "heartbeat": now}
    values |= {"generation": 1, "model_loaded": False, "ready": False} | more
    path = gateway.share / folder / "a.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ReplicaReport(**values).model_dump_json(by_alias=True))


async def test_a_stream_ends_with_a_last_event_and_not_with_a_cut(gateways):
    """Before the ingress would cut it, a stream that still waits ends with an error in OpenAI's
    shape, with the seconds left.
    """
    patience = Patience(stream=0.3, comments=0.05)
    gateway = await gateways(patience=patience, phi=StandIn(awake=False))
    async with gateway.post(stream=True) as answer:
        text = await answer.text()
    assert answer.status == 200
    last = json.loads(text.rstrip().rpartition("\n")[2].removeprefix("data: "))["error"]
    assert (last["code"], last["seconds_left"]) == ("starting", 90)
    stream = await client(gateway, max_retries=0).chat.completions.create(
        model="phi", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    with pytest.raises(openai.APIError, match="phi is starting"):
        [chunk async for chunk in stream]
    async with gateway.post("/v1/responses", stream=True, input="hi") as answer:
        event = (await answer.text()).rstrip().splitlines()[-2:]
    assert event[0] == "event: error"
    assert json.loads(event[1].removeprefix("data: "))["code"] == "starting"


async def test_who_waits_is_told_when_it_cannot_start(gateways):
    """Routes that say why a service cannot start end every wait at once."""
    gateway = await gateways(patience=QUICK, phi=StandIn(awake=False))
    plain = asyncio.create_task(_error(gateway))
    streamed = asyncio.create_task(_error(gateway, stream=True))
    await _until(lambda: len(gateway.world.backends["phi"].line) == 2)
    (phi,) = gateway.services
    fault = StartFault(reason="ImageNotFound", message="no registry has the image")
    gateway.publish(phi.model_copy(update={"stopped": fault}))
    await gateway.follow()
    for text in await asyncio.gather(plain, streamed):
        assert "phi cannot start: no registry has the image (ImageNotFound)" in text


async def _error(gateway, **more):
    async with gateway.post(**more) as answer:
        return await answer.text()


async def test_a_removed_service_leaves_nobody_waiting(gateways):
    """Who waits for a service that is taken out of the routes is told so."""
    gateway = await gateways(patience=QUICK, phi=StandIn(awake=False))
    asked = asyncio.create_task(_error(gateway))
    await _until(lambda: len(gateway.world.backends["phi"].line) == 1)
    gateway.publish()
    await gateway.follow()
    assert "no longer served" in await asked


async def test_the_wake_goes_on_when_nobody_waits(gateways):
    """A caller who leaves takes its place along; the service is woken all the same."""
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), gateway.post(stream=True) as answer:
            await answer.read()
    backend = gateway.world.backends["phi"]
    await _until(lambda: not len(backend.line))
    assert backend.starting
    phi.awake.set()
    await _until(lambda: backend.up)


async def test_an_old_report_proves_nothing(gateways):
    """Reports that were written long ago are as good as none, and a report that cannot be read
    hurts nobody.
    """
    folder = "services/phi/e/replicas"
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi, routes={"phi": {"reports": folder}})
    _report(gateway, folder, ready=True)
    past = time.time() - 300
    os.utime(gateway.share / folder / "a.json", (past, past))
    (gateway.share / folder / "b.json").write_bytes(b"[" * 100_000)
    (gateway.share / folder / "c.json").mkdir()
    backend = gateway.world.backends["phi"]
    await backend.look()
    assert not backend.up
    _report(gateway, folder, ready=True)
    await backend.look()
    assert backend.up


@pytest.mark.parametrize("hours", [1, -1], ids=["ahead", "behind"])
async def test_a_report_of_a_replica_with_another_clock_is_believed(gateways, hours):
    """Its age is that of the file, and it started when it did by the gateway's clock."""
    folder = "services/phi/e/replicas"
    phi = StandIn(awake=False)
    gateway = await gateways(patience=QUICK, phi=phi, routes={"phi": {"reports": folder}})
    there = datetime.now(UTC) + timedelta(hours=hours)
    began = there - timedelta(seconds=60)
    _report(gateway, folder, ready=True, heartbeat=there, started_at=began)
    backend = gateway.world.backends["phi"]
    await backend.look()
    assert backend.up
    age = (datetime.now(UTC) - backend._report.started_at).total_seconds()
    assert 55 < age < 75


async def test_a_last_replica_that_stops_is_believed(gateways, monkeypatch):
    """A service whose only replica reports that it stops is asleep at once, unless it has just
    answered.
    """
    folder = "services/phi/e/replicas"
    gateway = await gateways(phi=StandIn(), routes={"phi": {"reports": folder}})
    backend = gateway.world.backends["phi"]
    backend.answered()
    _report(gateway, folder, ready=False, message="Stopped")
    await backend.look()
    assert backend.up
    monkeypatch.setattr("serving.gateway.backend.ANSWER", 0)
    await backend.look()
    assert backend.state().state == "asleep"


async def test_a_fallback_answers_while_the_service_starts(gateways):
    """The service named as fallback answers, the answer says so, and the service that was asked for
    is woken all the same.
    """
    phi, small = StandIn(awake=False), StandIn(words=("small",))
    routes = {"phi": {"fallback": "small"}}
    gateway = await gateways(patience=QUICK, phi=phi, small=small, routes=routes)
    async with gateway.post(model="small") as answer:
        assert answer.headers["x-moorage-answered-by"] == "small"
    async with gateway.post(model="phi") as answer:
        assert answer.status == 200
        assert answer.headers["x-moorage-answered-by"] == "small"
    assert [body["model"] for _, body, _ in small.seen] == ["small", "small"]
    assert gateway.world.backends["phi"].starting
    phi.awake.set()
    await _until(lambda: gateway.world.backends["phi"].up)
    async with gateway.post(model="phi") as answer:
        assert answer.headers["x-moorage-answered-by"] == "phi"


@pytest.mark.parametrize(
    ("asked", "told"),
    [("support", "red"), ("phi/support", "red"), ("phi", "small"), ("sales", "small")],
)
async def test_an_adapter_has_a_fallback_of_its_own(gateways, asked, told):
    """An adapter of another service answers for it; the service's entry holds for the others."""
    models = [
        RoutedModel(name="phi"),
        RoutedModel(name="support", kind="adapter", aliases=("phi/support",), fallback="small/red"),
        RoutedModel(name="sales", kind="adapter"),
    ]
    phi, small = StandIn(awake=False), StandIn()
    red = RoutedModel(name="red", kind="adapter")
    routes = {
        "phi": {"fallback": "small", "models": models},
        "small": {"models": [RoutedModel(name="small"), red]},
    }
    gateway = await gateways(patience=QUICK, phi=phi, small=small, routes=routes)
    async with gateway.post(model="small") as answer:
        assert answer.status == 200
    async with gateway.post(model=asked) as answer:
        assert answer.status == 200
        assert answer.headers["x-moorage-answered-by"] == "small"
    assert [body["model"] for _, body, _ in small.seen] == ["small", told]


@pytest.mark.parametrize(
    ("models", "by"),
    [(("phi",), 503), (("phi", "small"), 200), (("phi", "small/small"), 200), (None, 200)],
)
@pytest.mark.parametrize("background", [False, True])
async def test_a_fallback_opens_nothing_that_the_key_does_not(gateways, models, by, background):
    """Only a caller who might ask for the fallback by its own name is answered by it; the others
    wait for what they asked for.
    """
    routes = {"phi": {"fallback": "small"}}
    more = {"keys": (key("some", "sk-some", models=models),), "hold": HoldLimits(seconds=0.3)}
    phi, small = StandIn(awake=False), StandIn()
    gateway = await gateways(patience=QUICK, phi=phi, small=small, routes=routes, more=more)
    gateway.world.backends["small"].answered()
    if background:
        asked = {"model": "phi", "input": "hi", "background": True}
        async with gateway.session.post(
            gateway.url + "/v1/responses", json=asked, headers={"authorization": "Bearer sk-some"}
        ) as answer:
            assert answer.status == 200
        if by == 200:
            await _until(lambda: len(small.seen) == 1)
        else:
            await asyncio.sleep(0.5)
    else:
        async with gateway.post(token="sk-some") as answer:
            assert answer.status == by
    assert len(small.seen) == (by == 200)
    assert gateway.world.backends["phi"].starting


async def test_a_services_key_gets_no_answer_of_another_service(gateways):
    """A key of one service opens no fallback that is another."""
    routes = {"phi": {"fallback": "small"}}
    more = {"hold": HoldLimits(seconds=0.3)}
    phi, small = StandIn(awake=False), StandIn()
    gateway = await gateways(patience=QUICK, phi=phi, small=small, routes=routes, more=more)
    gateway.world.backends["small"].answered()
    async with gateway.post(token="sk-phi") as answer:
        assert answer.status == 503
    assert not small.seen


async def test_a_fallback_is_woken_when_the_service_cannot_start(gateways):
    """A stopped service's callers wait for the fallback."""
    fault = StartFault(reason="QuotaExceeded", message="no GPU")
    routes = {"phi": {"fallback": "small", "stopped": fault}}
    small = StandIn(awake=False, starts_in=0.2)
    gateway = await gateways(patience=QUICK, phi=StandIn(awake=False), small=small, routes=routes)
    async with gateway.post(model="phi") as answer:
        assert answer.status == 200
        assert answer.headers["x-moorage-answered-by"] == "small"
