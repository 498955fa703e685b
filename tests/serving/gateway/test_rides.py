"""What goes wrong before the first byte is tried again and never shown."""

import asyncio
import json

import aiohttp
import pytest

from serving.gateway.passage import Patience
from tests.serving.gateway.stand_in import StandIn

QUICK = Patience(stream=30, comments=0.05, silent=0.3)
DEAD_ENGINE = (500, {"error": {"message": "EngineCore encountered an issue.", "code": 500}})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failures",
    [[503], [502, 503, 503], [504], [404], ["cut"], [DEAD_ENGINE], [503, "cut", 404, 502]],
    ids=str,
)
async def test_a_failure_before_the_first_byte_is_not_shown(gateways, stream, failures):
    """A revision that is replaced, a replica that dies, an ingress without a replica: the caller
    sees the answer alone.
    """
    phi = StandIn()
    phi.failures = list(failures)
    gateway = await gateways(patience=QUICK, phi=phi)
    async with gateway.post(stream=stream) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert "error" not in text
    assert len(phi.seen) == len(failures) + 1
    assert gateway.world.usage.totals["team", "phi"].errors == 0


async def test_a_request_that_kills_is_not_given_to_everybody(gateways):
    """After its third replica a request is given up, because it may be what they died of."""
    phi = StandIn()
    phi.failures = ["cut"] * 9
    gateway = await gateways(patience=QUICK, phi=phi)
    async with gateway.post() as answer:
        error = (await answer.json())["error"]
        assert answer.status == 503
    assert "ended 3 times while it worked on this request" in error["message"]
    assert len(phi.seen) == 3


async def test_a_stream_that_is_cut_ends_with_an_error(gateways):
    """After the first byte nothing can be tried again: the stream ends with an event that OpenAI's
    clients raise, not as if it were complete.
    """
    phi = StandIn()
    phi.failures = ["cut later"]
    gateway = await gateways(patience=QUICK, phi=phi)
    async with gateway.post(stream=True) as answer:
        text = (await answer.text()).rstrip()
    assert json.loads(text.rpartition("data: ")[2])["error"]["code"] == "answer_cut"
    assert gateway.world.usage.totals["team", "phi"].errors == 1


async def test_a_large_answer_that_is_cut_is_seen_to_be(gateways):
    """An answer too large to be held is passed on as it comes; where it is cut, so is the
    caller's.
    """
    phi = StandIn()
    phi.failures = ["cut large"]
    gateway = await gateways(patience=QUICK, phi=phi)
    with pytest.raises(aiohttp.ClientError):
        async with gateway.post() as answer:
            await answer.read()


async def test_a_fault_of_the_gateway_is_an_error_in_openais_shape(gateways, monkeypatch):
    """Whatever breaks inside, the caller gets an error that its client understands."""
    gateway = await gateways(phi=StandIn())
    monkeypatch.setattr(gateway.world.directory, "find", lambda *_: 1 / 0)
    async with gateway.post() as answer:
        assert answer.status == 500
        assert (await answer.json())["error"]["code"] == "gateway_failed"


async def test_an_error_of_the_service_is_its_answer(gateways):
    """What the service says no to is passed on as it is, in a stream that has begun as well."""
    phi = StandIn()
    refusal = {"error": {"message": "too long", "code": "context_length_exceeded"}}
    phi.failures = [(400, refusal)]
    gateway = await gateways(patience=QUICK, phi=phi)
    async with gateway.post(stream=True) as answer:
        assert answer.status == 400
        assert await answer.json() == refusal
    assert len(phi.seen) == 1


async def test_an_error_after_a_wait_comes_as_an_event(gateways):
    """A caller who has got headers already gets the service's error as the stream's last event."""
    phi = StandIn(awake=False, starts_in=0.3)
    refusal = {"error": {"message": "too long", "code": "context_length_exceeded"}}
    phi.failures = [(400, refusal)]
    gateway = await gateways(patience=QUICK, phi=phi)
    async with gateway.post(stream=True) as answer:
        text = (await answer.text()).rstrip()
    assert answer.status == 200
    assert json.loads(text.rpartition("data: ")[2]) == refusal


async def test_a_caller_who_hangs_up_ends_the_work(gateways):
    """The service sees the connection close."""
    phi = StandIn()
    phi.pause = 0.05
    phi.words = ("word",) * 1000
    gateway = await gateways(patience=QUICK, phi=phi)
    async with gateway.post(stream=True) as answer:
        await answer.content.readline()
        assert phi.running == 1
    async with asyncio.timeout(90):
        while phi.running or gateway.front.running:
            await asyncio.sleep(0.01)


async def test_a_service_that_only_seemed_to_be_awake_is_not_said_to_work(gateways):
    """Its last replica died without a word: the ingress holds the request and starts another. The
    comments claim no more than the gateway knows, and the answer comes.
    """
    phi = StandIn()
    gateway = await gateways(patience=QUICK, phi=phi)
    assert await _status(gateway) == 200
    phi.awake.clear()
    async with gateway.post(stream=True) as answer:
        comment = (await answer.content.readline()).decode()
        assert comment == ": moorage the request was sent to phi, which has not answered yet\n"
        phi.awake.set()
        assert (await answer.text()).count("[DONE]") == 1


async def test_an_ingress_that_times_out_does_not_end_the_wake(gateways):
    """Container Apps gives up a request to a sleeping service after 240 s: it is asked again."""
    phi = StandIn(awake=False)
    phi.ingress = [504, 503, 404, 502]
    gateway = await gateways(patience=QUICK, phi=phi)
    asked = asyncio.create_task(_status(gateway))
    async with asyncio.timeout(90):
        while phi.asked["/ready"] < 2:
            await asyncio.sleep(0.02)
    phi.ingress.clear()
    phi.awake.set()
    assert await asked == 200


async def _status(gateway):
    async with gateway.post() as answer:
        return answer.status


async def test_a_draining_gateway_answers_and_closes(gateways):
    """Requests go on while it drains; it is not ready, and asks clients to connect anew."""
    gateway = await gateways(phi=StandIn())
    gateway.front.draining = True
    async with gateway.post() as answer:
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
    async with gateway.get("/ready", None) as answer:
        assert answer.status == 503
    async with gateway.get("/live", None) as answer:
        assert answer.status == 200
