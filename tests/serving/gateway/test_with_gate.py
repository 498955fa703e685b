"""A gateway before the real gate of a replica, over HTTP: whose request it was, what it used, and
what a replica says while it starts and stops.
"""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from serving.catalogue import GATEWAY_KEY
from serving.gate import Gate
from serving.gateway.passage import Patience
from serving.request.keys import Keys
from serving.request.traffic import current_call
from tests.serving.gate_call import api_key, make_door
from tests.serving.gateway.conftest import key, route
from tests.serving.gateway.stand_in import StandIn

uvicorn = pytest.importorskip("uvicorn")
QUICK = Patience(comments=0.05, silent=0.3)


class Engine:
    """vLLM behind the gate: it answers as the engine does, and counts what it makes."""

    def __init__(self):
        self.state = SimpleNamespace()
        self.bodies = []

    async def __call__(self, scope, receive, send):
        scope["app"] = self
        await Gate(self._answer)(scope, receive, send)

    async def _answer(self, scope, receive, send):
        body = json.loads((await receive())["body"])
        self.bodies.append(body)
        call = current_call.get()
        call.prompt_tokens, call.completion_tokens = 11, 22
        stream = body.get("stream")
        kind = b"text/event-stream; charset=utf-8" if stream else b"application/json"
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", kind)]})
        usage = {"usage": {"prompt_tokens": 11, "completion_tokens": 22}}
        parts = (
            [b"data: {}\n\n", b"data: [DONE]\n\n", b""] if stream else [json.dumps(usage).encode()]
        )
        for number, part in enumerate(parts):
            more = number + 1 < len(parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})


@asynccontextmanager
async def replica(engine):
    """The engine's gate on a port of its own."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(engine, log_level="error", lifespan="off", loop="none")
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([bound]))
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


def _door(calls, **more):
    keys = Keys([api_key(GATEWAY_KEY, "sk-gateway", evaluation=True)])
    return make_door(keys=keys, ended=lambda call, _: calls.append(call), **more)


async def test_a_replica_counts_for_the_caller_and_tells_the_gateway(gateways):
    """The gateway's figures are the replica's own, streamed or not; the replica's are under the
    caller's name; and a caller may evaluate only if its key says so.
    """
    engine, calls = Engine(), []
    engine.state.moorage = _door(calls)
    async with replica(engine) as url:
        gateway = await gateways(other=StandIn())
        keys = (
            key("team", "sk-everything"),
            key("judge", "sk-judge", evaluation=True),
        )
        gateway.publish(route("phi", url), keys=keys)
        await gateway.follow()
        for stream in (True, False):
            async with gateway.post(stream=stream) as answer:
                assert answer.status == 200
                await answer.read()
        used = gateway.world.usage.totals["team", "phi"]
        assert (used.requests, used.input_tokens, used.output_tokens) == (2, 22, 44)
        for token, status in (("sk-everything", 404), ("sk-judge", 200)):
            async with gateway.post("/tokenize", token, prompt="hi") as answer:
                assert answer.status == status
    assert [call.key for call in calls] == ["gateway/team", "gateway/team", "gateway/judge"]
    assert [call.prompt_logprobs for call in calls] == [False, False, True]


async def test_a_replica_that_starts_or_drains_is_waited_for(gateways):
    """While the gate is closed or drains, it says 503 in its own words: callers are held until it
    is open.
    """
    engine = Engine()
    ready = [False]
    door = engine.state.moorage = _door([], ready=lambda: (ready[0], "starting"), open=False)
    async with replica(engine) as url:
        gateway = await gateways(patience=QUICK, other=StandIn())
        gateway.publish(route("phi", url), keys=(key("team", "sk-everything"),))
        await gateway.follow()
        waiting = asyncio.create_task(_status(gateway))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        ready[0] = door.open = True
        assert await waiting == 200
        door.draining, ready[0] = True, False
        waiting = asyncio.create_task(_status(gateway))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        door.draining, ready[0] = False, True
        assert await waiting == 200
    assert len(engine.bodies) == 2


async def _status(gateway):
    async with gateway.post() as answer:
        return answer.status
