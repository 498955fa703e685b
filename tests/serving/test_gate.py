"""What the gate lets through, what it answers itself, and that no spelling of a path gets around
it.
"""

import asyncio
import json
from types import SimpleNamespace

import pytest

from serving.catalogue import Limits
from serving.gate import Gate
from serving.request.keys import Keys
from serving.request.traffic import Call, current_call
from tests.serving.gate_call import AUTHORIZED, KEY, Inner, Version, call, make_door


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/red"),
        ("GET", "/v1/models/org/name-1.5"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
    ],
)
async def test_the_openai_routes_pass_with_a_key_and_only_with_it(method, path):
    """200 from the application with a good key, 401 in OpenAI's shape without."""
    status, body, headers, inner = await call(path, method)
    assert (status, body, headers[b"x-inner"]) == (200, b"onetwo", b"1")
    assert len(inner.scopes) == 1
    for wrong in (
        [],
        [(b"authorization", b"Bearer nope")],
        [(b"authorization", b"Bearer")],
        [*AUTHORIZED, *AUTHORIZED],
    ):
        status, body, headers, inner = await call(path, method, headers=wrong)
        assert (status, json.loads(body)["error"]["code"], headers[b"www-authenticate"]) == (
            401,
            "invalid_api_key",
            b"Bearer",
        )
        assert inner.scopes == []
    assert (await call(path, method, headers=[(b"authorization", b"Basic " + KEY.encode())]))[
        0
    ] == 401
    assert (await call(path, method, headers=[(b"authorization", b"bearer  " + KEY.encode())]))[
        0
    ] == 200


TRICKS = [
    ("admin", "/metrics", None),
    ("docs", "/docs", None),
    ("adapter routes", "/adapters", None),
    ("inference without /v1", "/invocations", None),
    ("load", "/v1/load_lora_adapter", None),
    ("elastic", "/scale_elastic_ep", None),
    ("tokenize", "/tokenize", None),
    ("below a listed route", "/v1/chat/completions/render", None),
    ("batch", "/v1/chat/completions/batch", None),
    ("stored response", "/v1/responses/resp_1", None),
    ("double slash", "//v1/models", None),
    ("double slash inside", "/v1//models", None),
    ("double slash to an admin route", "//metrics", None),
    ("trailing slash", "/v1/models/", None),
    ("trailing slash of a post route", "/v1/completions/", None),
    ("case", "/V1/Models", None),
    ("dots", "/v1/../metrics", None),
    ("dots below models", "/v1/models/../../metrics", None),
    ("encoded dots below models", "/v1/models/../../metrics", b"/v1/models/%2e%2e/%2e%2e/metrics"),
    ("encoded letter", "/v1/models", b"/v1/%6dodels"),
    ("encoded slash", "/v1/models", b"/v1%2fmodels"),
    ("encoded probe", "/ready", b"/%72eady"),
    ("null byte", "/v1/models\x00", None),
    ("newline", "/v1/models\n", None),
    ("newline below models", "/v1/models/red\n", None),
    ("semicolon", "/v1/models;x=1", None),
    ("query in the path", "/v1/models/red?x", None),
    ("space", " /v1/models", None),
    ("other letters", "/v1/model\u017f", None),
    ("empty", "", None),
    ("root", "/", None),
]


@pytest.mark.parametrize(
    ("path", "raw"), [case[1:] for case in TRICKS], ids=[case[0] for case in TRICKS]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "get", "HEAD"])
async def test_no_spelling_of_a_path_gets_around_the_gate(path, raw, method):
    """Everything that is not a listed route letter by letter is 404 and never reaches vLLM, even
    with a good key.
    """
    status, body, _, inner = await call(path, method, raw=raw)
    assert status in {404, 405}
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert inner.scopes == []


async def test_another_method_on_a_listed_route_is_refused():
    """405 names the method that is allowed."""
    status, _, headers, inner = await call("/v1/chat/completions", "GET")
    assert (status, headers[b"allow"], inner.scopes) == (405, b"POST", [])


async def test_a_root_path_closes_everything():
    """A prefix that Starlette would strip cannot make a listed path mean another route."""
    status, _, _, inner = await call("/v1/models", root_path="/v1")
    assert (status, inner.scopes) == (404, [])


async def test_websockets_are_closed_and_lifespan_passes():
    """Only HTTP is served; the application still starts."""
    sent, inner = [], Inner()

    async def send(message):
        sent.append(message)

    await Gate(inner)({"type": "websocket", "path": "/v1/realtime"}, None, send)
    assert sent[0]["type"] == "websocket.close"
    assert inner.scopes == []
    await Gate(inner)({"type": "lifespan"}, None, send)
    assert inner.scopes == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("/ready", {}, 200),
        ("/ready", {"ready": lambda: (False, "waiting for the adapters red")}, 503),
        ("/live", {}, 200),
        ("/live", {"alive": lambda: False}, 503),
        ("/live", {"ready": lambda: (False, "x")}, 200),
    ],
)
async def test_probes_need_no_key_and_tell_why_not(path, changes, status):
    """Readiness and liveness are answered by the gate itself."""
    answer, body, _, inner = await call(path, headers=[], door=make_door(**changes))
    assert (answer, json.loads(body)["ok"]) == (status, status == 200)
    assert inner.scopes == []


async def test_without_a_door_nothing_but_liveness_answers():
    """A plugin that failed to load leaves the gate shut."""
    assert (await call("/v1/models", door="none"))[0] == 503
    assert (await call("/ready", headers=[], door="none"))[0] == 503
    assert (await call("/live", headers=[], door="none"))[0] == 200
    assert (await call("/v1/models", door=make_door(open=False)))[0] == 503
    assert (await call("/v1/models", door=make_door(keys=Keys())))[0] == 401


@pytest.mark.parametrize(
    ("change", "code"),
    [({"draining": True}, "draining"), ({"alive": lambda: False}, "engine_dead")],
)
async def test_a_replica_that_ends_refuses_with_retry_after(change, code):
    """New requests are told to go elsewhere, in OpenAI's shape."""
    status, body, headers, inner = await call(
        "/v1/chat/completions", "POST", door=make_door(**change)
    )
    assert (status, json.loads(body)["error"]["code"], headers[b"retry-after"], inner.scopes) == (
        503,
        code,
        b"1",
        [],
    )


async def test_running_requests_are_counted_until_the_last_ends_while_draining():
    """The drain ends when the last running request has."""
    idle = []
    door, inner = make_door(on_idle=lambda: idle.append(1)), Inner()
    inner.go.clear()
    running = [asyncio.create_task(call("/v1/models", door=door, inner=inner)) for _ in range(2)]
    await inner.entered.acquire()
    await inner.entered.acquire()
    assert door.running == 2
    door.draining = True
    inner.go.set()
    await asyncio.gather(*running)
    assert (door.running, idle) == (0, [1])


async def test_a_drain_waits_for_a_body_that_is_still_coming():
    """A request that was let in is not lost because the gate looks into it first."""
    idle, arriving, more = [], asyncio.Event(), asyncio.Event()
    door, inner = make_door(on_idle=lambda: idle.append(1)), Inner()
    parts = [
        {"type": "http.request", "body": b'{"model"', "more_body": True},
        {"type": "http.request", "body": b': "red"}'},
    ]

    async def receive():
        arriving.set()
        if len(parts) == 1:
            await more.wait()
        return parts.pop(0)

    async def send(message):
        pass

    scope = {
        "type": "http",
        "path": "/v1/completions",
        "raw_path": b"/v1/completions",
        "method": "POST",
        "root_path": "",
    }
    scope |= {"headers": AUTHORIZED, "app": SimpleNamespace(state=SimpleNamespace(moorage=door))}
    running = asyncio.create_task(Gate(inner)(scope, receive, send))
    await arriving.wait()
    door.draining = True
    assert (door.running, idle) == (1, [])
    more.set()
    await running
    assert (inner.bodies, idle) == ([b'{"model": "red"}'], [1])


async def test_the_version_that_answers_is_pinned_for_the_request_and_named_in_a_header():
    """A pinned version cannot be unloaded before the answer is complete."""
    version, inner = Version(), None
    inner = Inner(version=version)
    inner.go.clear()
    running = asyncio.create_task(call("/v1/chat/completions", "POST", inner=inner))
    await inner.entered.acquire()
    assert version.pins == 1
    inner.go.set()
    _, _, headers, _ = await running
    assert headers[b"x-moorage-adapter-version"] == b"0123456789ab"
    assert version.pins == 0


async def test_a_call_pins_one_version_once():
    """Batched prompts of one request ask for the name once each."""
    version, call = Version(), Call("default")
    call.pin(version)
    call.pin(version)
    assert version.pins == 1
    call.end()
    assert version.pins == 0


async def test_a_failing_application_releases_what_it_held():
    """An exception inside vLLM leaves neither a pin nor a count behind."""
    version, door = Version(), make_door()

    async def broken(scope, receive, send):
        current_call.get().pin(version)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        await call("/v1/models", door=door, inner=broken)
    assert (version.pins, door.running) == (0, 0)


async def test_long_bodies_are_refused_by_their_length_before_they_are_read():
    """413 in OpenAI's shape; a length that is no number is refused, too."""
    door = make_door(limits=Limits(body=10))
    for length in (b"11", b"-1", b"x"):
        status, body, _, inner = await call(
            "/v1/completions", "POST", door=door, headers=[*AUTHORIZED, (b"content-length", length)]
        )
        assert (status, json.loads(body)["error"]["code"], inner.scopes) == (
            413,
            "request_too_large",
            [],
        )


async def test_bodies_without_a_length_are_counted_and_passed_on_whole():
    """A chunked body is limited like any other."""
    chunked = [*AUTHORIZED, (b"transfer-encoding", b"chunked")]
    door = make_door(limits=Limits(body=10))
    status, _, _, inner = await call(
        "/v1/completions", "POST", door=door, headers=chunked, body=(b'{"a":', b"1234}")
    )
    assert (status, inner.bodies) == (200, [b'{"a":1234}'])
    status, _, _, inner = await call(
        "/v1/completions", "POST", door=door, headers=chunked, body=(b'{"a":', b"12345}")
    )
    assert (status, inner.scopes) == (413, [])
