"""The daemon's web server shows what was observed: health, readiness, metrics, JSON and a page."""

import aiohttp
import pytest

from reconciler.web.metrics import DaemonMetrics
from reconciler.web.server import WebServer
from tests.ports import free_port

CONDITION = {
    "type": "Ready",
    "status": "False",
    "reason": "Loading",
    "message": "<b>soon</b>",
    "lastTransitionTime": "now",
}
STATUS = {
    "target": "local Azure",
    "daemon": {"running": True, "pid": 7},
    "documents": [
        {
            "kind": "InferenceService",
            "name": "phi",
            "generation": 2,
            "observedGeneration": 1,
            "conditions": [CONDITION],
            "endpoint": None,
            "models": [],
            "revisions": [],
            "replicas": [
                {"name": "r1", "ready": True, "pid": 1, "startedAt": "now", "adapters": []}
            ],
        }
    ],
}


@pytest.fixture
async def get():
    """Asks a running server; the leader when `leading` says so."""
    state = {"leading": True}
    metrics = DaemonMetrics({"GET": 3})
    metrics.saw("ContainerApp", "Ready", 0.1)
    port = free_port()
    async with (
        WebServer("127.0.0.1", port, lambda: STATUS, metrics, lambda: state["leading"]),
        aiohttp.ClientSession() as http,
    ):

        async def ask(path, **changes):
            state.update(changes)
            async with http.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        yield ask


async def test_health_and_readiness(get):
    """Alive is enough for health; ready is only who may write."""
    assert (await get("/healthz"))[0] == 200
    assert (await get("/readyz"))[0] == 200
    assert (await get("/readyz", leading=False))[0] == 503


async def test_metrics_say_what_was_observed(get):
    """Passes, requests, conditions and replicas are there under their names."""
    _, text = await get("/metrics")
    assert 'moorage_reconcile_total{kind="ContainerApp",phase="Ready"} 1.0' in text
    assert 'moorage_azure_requests{method="GET"} 3.0' in text
    assert 'moorage_condition{condition="Ready",kind="InferenceService",name="phi"} 0.0' in text
    assert 'moorage_replicas{ready="true",service="phi"} 1.0' in text


async def test_the_page_shows_the_status_and_escapes_it(get):
    """What Azure or a replica said is text, never markup."""
    status, page = await get("/")
    assert status == 200
    assert "InferenceService phi" in page
    assert "last observed 1" in page
    assert "&lt;b&gt;soon&lt;/b&gt;" in page
    assert (await get("/status"))[1].startswith('{"target": "local Azure"')


@pytest.mark.parametrize(
    ("host", "token", "headers", "status", "reason"),
    [
        ("127.0.0.1", "", {"Host": "localhost:80"}, 200, "this machine"),
        ("127.0.0.1", "", {"Host": "[::1]"}, 200, "this machine"),
        ("127.0.0.1", "", {"Host": "evil.example"}, 401, "a name that somebody else points here"),
        ("127.0.0.1", "", {"Host": "127.0.0.1.evil.example"}, 401, "so is this"),
        ("127.0.0.1", "", {"Host": "["}, 400, "no name at all"),
        ("127.0.0.1", "t", {"Authorization": "Bearer no"}, 401, "a wrong token is not overlooked"),
        ("127.0.0.1", "t", {"Host": "x", "Authorization": "Bearer t"}, 200, "the token is enough"),
        ("0.0.0.0", "", {}, 401, "beyond loopback without a token"),
        ("0.0.0.0", "t", {}, 401, "nor without bringing it"),
        ("0.0.0.0", "t", {"Authorization": "Bearer t"}, 200, "with it"),
    ],
)
async def test_the_status_is_for_this_machine_or_for_who_has_the_token(
    host, token, headers, status, reason
):
    """A web page elsewhere reads nothing; supervisors always reach health."""
    port = free_port()
    async with (
        WebServer(host, port, lambda: STATUS, DaemonMetrics({}), lambda: True, token),
        aiohttp.ClientSession() as http,
    ):
        for path in ("/", "/status", "/metrics"):
            async with http.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
                assert answer.status in (status, 401 if status == 400 else status), reason
        async with http.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
