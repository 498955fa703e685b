"""How a service is, as the chat page sees it: against a local Azure, where looking must wake
nobody.
"""

import asyncio
import time

import pytest

from reconciler.arm.clients import Arm
from reconciler.chat.endpoint import Endpoint
from reconciler.chat.state import StateKind, look
from reconciler.settings import Settings
from tests.e2e.stage import Stage, service

APP = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "web", "parent": null}]}')

HTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def stage(tmp_path_factory):
    # The cooldown of 15 s passes in 5.
    stage = Stage(tmp_path_factory.mktemp("c"), "--speed", "3")
    stage.start_azure()
    yield stage
    stage.close()


async def becomes(arm, kind, seconds=60):
    """Look until it is so; every look counts, for none may wake it."""
    deadline = time.monotonic() + seconds
    while (state := await look(arm, "rg-moorage-default", "web")).kind is not kind:
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.5)
    return state


async def test_asleep_until_asked_then_ready_then_gone(stage):
    """Scaled to zero it stays asleep however often one looks; one request wakes it; a deleted app
    is down.
    """
    stage.code("web")
    (stage.root / "code-web" / "app.py").write_text(APP)
    stage.save(service("web", scale={"minReplicas": 0, "maxReplicas": 1, "cooldownPeriod": 15}))
    stage.once()
    async with Arm(Settings.for_local(stage.facts, {}, state_dir=stage.state)) as arm:
        assert "billed while it runs" in (await becomes(arm, StateKind.ASLEEP)).message
        for _ in range(6):
            await asyncio.sleep(0.5)
            assert (await look(arm, "rg-moorage-default", "web")).kind is StateKind.ASLEEP
        url = next(d["endpoint"] for d in stage.json("status")["documents"] if d["name"] == "web")
        assert [m.name for m in await Endpoint(arm.session, url, "none").models()] == ["web"]
        await becomes(arm, StateKind.READY)
        stage.moorage("down", "-y")
        assert "does not exist any more" in (await becomes(arm, StateKind.DOWN)).message
        stage.azure("stop")
        await asyncio.sleep(2.1)  # what was read is at most two seconds old
        assert "local Azure does not say" in (await becomes(arm, StateKind.UNKNOWN)).message
