"""What the gate lets through, what it answers itself, and that no spelling of a path gets around
it.
"""

import asyncio
import gzip
import hashlib
import json
from types import SimpleNamespace

import pytest

from serving.catalogue import ApiKey, Cors, Limits
from serving.gate import Door, Gate
from serving.keys import Keys
from serving.traffic import Call, Traffic, current_call

KEY = "sk-secret"
AUTHORIZED = [(b"authorization", b"Bearer " + KEY.encode())]


class Version:
    name, digest, pins = "red", "0123456789abcdef", 0

    def __init__(self):
        self.traffic = Traffic()


class Inner:
    """The application behind the gate: notes each call, pins a version when told to, answers in two
    chunks.
    """

    def __init__(self, status=200, body=(b"one", b"two"), version=None):
        self.scopes, self.bodies, self.status, self.body, self.version = (
            [],
            [],
            status,
            body,
            version,
        )
        self.entered, self.go = asyncio.Semaphore(0), asyncio.Event()
        self.go.set()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        if self.version:
            current_call.get().pin(self.version)
        self.entered.release()
        message = await receive() if scope["method"] == "POST" else {}
        self.bodies.append(message.get("body"))
        await self.go.wait()
        await send(
            {"type": "http.response.start", "status": self.status, "headers": [(b"x-inner", b"1")]}
        )
        for index, chunk in enumerate(self.body):
            await send(
                {
                    "type": "http.response.body",
                    "body": chunk,
                    "more_body": index + 1 < len(self.body),
                }
            )


def api_key(name, text=KEY, **options):
    return ApiKey(name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), **options)


def _door(**changes):
    door = Door(ready=lambda: (True, ""), alive=lambda: True, open=True)
    door.keys = Keys([ApiKey(name="other", sha256="0" * 64), api_key("default")])
    for name, value in changes.items():
        setattr(door, name, value)
    return door


async def _call(
    path,
    method="GET",
    *,
    headers=AUTHORIZED,
    door=None,
    inner=None,
    body=(b"{}",),
    raw=None,
    **scope,
):
    """(status, body, headers, inner) of one request through a gate."""
    inner = inner or Inner()
    state = SimpleNamespace() if door == "none" else SimpleNamespace(moorage=door or _door())
    chunks, sent = list(body), []
    if method == "POST" and not any(
        name in {b"content-length", b"transfer-encoding"} for name, _ in headers
    ):
        headers = [*headers, (b"content-length", str(sum(map(len, chunks))).encode())]

    async def receive():
        if not chunks:
            return {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    full = {
        "type": "http",
        "path": path,
        "raw_path": path.encode() if raw is None else raw,
        "method": method,
        "headers": headers,
        "app": SimpleNamespace(state=state),
        "root_path": "",
        **scope,
    }
    await Gate(inner)(full, receive, send)
    data = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0].get("status"), data, dict(sent[0].get("headers", ())), inner


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
    status, body, headers, inner = await _call(path, method)
    assert (status, body, headers[b"x-inner"]) == (200, b"onetwo", b"1")
    assert len(inner.scopes) == 1
    for wrong in (
        [],
        [(b"authorization", b"Bearer nope")],
        [(b"authorization", b"Bearer")],
        [*AUTHORIZED, *AUTHORIZED],
    ):
        status, body, headers, inner = await _call(path, method, headers=wrong)
        assert (status, json.loads(body)["error"]["code"], headers[b"www-authenticate"]) == (
            401,
            "invalid_api_key",
            b"Bearer",
        )
        assert inner.scopes == []
    assert (await _call(path, method, headers=[(b"authorization", b"Basic " + KEY.encode())]))[
        0
    ] == 401
    assert (await _call(path, method, headers=[(b"authorization", b"bearer  " + KEY.encode())]))[
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
    status, body, _, inner = await _call(path, method, raw=raw)
    assert status in {404, 405}
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert inner.scopes == []


async def test_another_method_on_a_listed_route_is_refused():
    """405 names the method that is allowed."""
    status, _, headers, inner = await _call("/v1/chat/completions", "GET")
    assert (status, headers[b"allow"], inner.scopes) == (405, b"POST", [])


async def test_a_root_path_closes_everything():
    """A prefix that Starlette would strip cannot make a listed path mean another route."""
    status, _, _, inner = await _call("/v1/models", root_path="/v1")
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
    answer, body, _, inner = await _call(path, headers=[], door=_door(**changes))
    assert (answer, json.loads(body)["ok"]) == (status, status == 200)
    assert inner.scopes == []


async def test_without_a_door_nothing_but_liveness_answers():
    """A plugin that failed to load leaves the gate shut."""
    assert (await _call("/v1/models", door="none"))[0] == 503
    assert (await _call("/ready", headers=[], door="none"))[0] == 503
    assert (await _call("/live", headers=[], door="none"))[0] == 200
    assert (await _call("/v1/models", door=_door(open=False)))[0] == 503
    assert (await _call("/v1/models", door=_door(keys=Keys())))[0] == 401


@pytest.mark.parametrize(
    ("change", "code"),
    [({"draining": True}, "draining"), ({"alive": lambda: False}, "engine_dead")],
)
async def test_a_replica_that_ends_refuses_with_retry_after(change, code):
    """New requests are told to go elsewhere, in OpenAI's shape."""
    status, body, headers, inner = await _call("/v1/chat/completions", "POST", door=_door(**change))
    assert (status, json.loads(body)["error"]["code"], headers[b"retry-after"], inner.scopes) == (
        503,
        code,
        b"1",
        [],
    )


async def test_running_requests_are_counted_until_the_last_ends_while_draining():
    """The drain ends when the last running request has."""
    idle = []
    door, inner = _door(on_idle=lambda: idle.append(1)), Inner()
    inner.go.clear()
    running = [asyncio.create_task(_call("/v1/models", door=door, inner=inner)) for _ in range(2)]
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
    door, inner = _door(on_idle=lambda: idle.append(1)), Inner()
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
    call = asyncio.create_task(_call("/v1/chat/completions", "POST", inner=inner))
    await inner.entered.acquire()
    assert version.pins == 1
    inner.go.set()
    _, _, headers, _ = await call
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
    version, door = Version(), _door()

    async def broken(scope, receive, send):
        current_call.get().pin(version)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        await _call("/v1/models", door=door, inner=broken)
    assert (version.pins, door.running) == (0, 0)


async def test_long_bodies_are_refused_by_their_length_before_they_are_read():
    """413 in OpenAI's shape; a length that is no number is refused, too."""
    door = _door(limits=Limits(body=10))
    for length in (b"11", b"-1", b"x"):
        status, body, _, inner = await _call(
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
    door = _door(limits=Limits(body=10))
    status, _, _, inner = await _call(
        "/v1/completions", "POST", door=door, headers=chunked, body=(b'{"a":', b"1234}")
    )
    assert (status, inner.bodies) == (200, [b'{"a":1234}'])
    status, _, _, inner = await _call(
        "/v1/completions", "POST", door=door, headers=chunked, body=(b'{"a":', b"12345}")
    )
    assert (status, inner.scopes) == (413, [])


async def test_an_unknown_model_gets_openais_code():
    """vLLM's 404 becomes model_not_found, with its message; a route the model does not serve says
    so.
    """
    error = {
        "error": {
            "message": "The model `x` does not exist.",
            "type": "NotFoundError",
            "param": "model",
            "code": 404,
        }
    }
    data = json.dumps(error).encode()
    inner = Inner(404, (data[:20], data[20:]))
    status, body, _, _ = await _call("/v1/chat/completions", "POST", inner=inner)
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    assert "`x`" in json.loads(body)["error"]["message"]
    inner = Inner(404, (b'{"detail":"Not Found"}',))
    status, body, _, _ = await _call("/v1/embeddings", "POST", inner=inner)
    assert (status, json.loads(body)["error"]["code"]) == (404, "not_served")


async def test_vllms_errors_get_openais_words():
    """A prompt beyond the model is context_length_exceeded, whatever number vLLM calls it; what is
    no error of vLLM's stays.
    """
    text = (
        "This model's maximum context length is 512 tokens. However, your request has 900 input"
        " tokens."
    )
    error = {
        "error": {"message": text, "type": "BadRequestError", "param": "input_tokens", "code": 400}
    }
    status, body, headers, _ = await _call(
        "/v1/chat/completions", "POST", inner=Inner(400, (json.dumps(error).encode(),))
    )
    expected = {
        "message": text,
        "type": "invalid_request_error",
        "param": "input_tokens",
        "code": "context_length_exceeded",
    }
    assert (status, json.loads(body)["error"]) == (400, expected)
    assert int(headers[b"content-length"]) == len(body)
    status, body, headers, _ = await _call(
        "/v1/chat/completions", "POST", inner=Inner(500, (b"Internal", b" Server Error"))
    )
    assert (status, body, headers[b"x-inner"]) == (500, b"Internal Server Error", b"1")
    status, body, _, _ = await _call(
        "/v1/completions",
        "POST",
        inner=Inner(500, (json.dumps({"error": {"message": "x"}}).encode(),)),
    )
    assert (status, json.loads(body)["error"]["type"]) == (500, "server_error")


@pytest.mark.parametrize(
    ("body", "status", "code", "reason"),
    [
        ({"model": "red"}, 200, None, "it is on the list"),
        ({"model": "tiny"}, 403, "model_not_allowed", "the base model is a model like others"),
        ({}, 403, "model_not_allowed", "no model means the base model"),
        ({"model": None}, 403, "model_not_allowed", "so does null"),
        ({"model": "RED"}, 403, "model_not_allowed", "names are exact"),
        (["red"], 400, "invalid_body", "nothing can be read from it"),
        ("{", 400, "invalid_body", "nor from this"),
        (
            '{"model": "red", "model": "tiny"}',
            403,
            "model_not_allowed",
            "vLLM takes the last of two, and so does the gate",
        ),
    ],
)
async def test_a_key_that_is_limited_to_models_opens_only_those(body, status, code, reason):
    """Everything else is 403 in OpenAI's shape before vLLM sees it."""
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    door = _door(keys=Keys([api_key("ci", models=("red", "green"))]), base="tiny")
    answer, data, _, inner = await _call(
        "/v1/chat/completions", "POST", door=door, body=(text[:3], text[3:])
    )
    assert answer == status, reason
    if status == 200:
        assert inner.bodies == [text]
    else:
        assert (json.loads(data)["error"]["code"], inner.scopes) == (code, [])


async def test_a_key_beyond_its_rate_is_told_when_to_come_back():
    """429 in OpenAI's shape with Retry-After; listing models costs nothing, other keys are not
    touched.
    """
    door = _door(
        keys=Keys(
            [api_key("ci", requests_per_minute=2), api_key("default", "sk-other")],
            clock=lambda: 5.0,
        )
    )
    assert [(await _call("/v1/completions", "POST", door=door))[0] for _ in range(2)] == [200, 200]
    status, body, headers, inner = await _call("/v1/completions", "POST", door=door)
    error = json.loads(body)["error"]
    assert (status, error["code"], error["type"], headers[b"retry-after"]) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
        b"30",
    )
    assert inner.scopes == []
    assert (await _call("/v1/models", door=door))[0] == 200
    assert (
        await _call(
            "/v1/completions", "POST", door=door, headers=[(b"authorization", b"Bearer sk-other")]
        )
    )[0] == 200


async def test_metrics_and_state_are_for_admin_keys_alone():
    """To every other key they do not exist, and to an admin key the models do not."""
    door = _door(
        keys=Keys([api_key("default"), api_key("ops", "sk-ops", admin=True)]),
        state=lambda: {"ready": True},
    )
    admin = [(b"authorization", b"Bearer sk-ops")]
    status, body, _, inner = await _call("/metrics", door=door, headers=admin)
    assert (status, body, len(inner.scopes)) == (200, b"onetwo", 1)
    status, body, _, inner = await _call("/state", door=door, headers=admin)
    assert (status, json.loads(body), inner.scopes) == (200, {"ready": True}, [])
    for path in ("/metrics", "/state"):
        for headers in (AUTHORIZED, []):
            assert (await _call(path, door=door, headers=headers))[0] == 404
        assert (await _call(path, "POST", door=door, headers=admin))[0] == 404
        assert (await _call(path, door=door, headers=admin, raw=path.encode() + b"%20"))[0] == 404
    assert (await _call("/metrics/x", door=door, headers=admin))[0] == 404
    assert (await _call("/v1/models", door=door, headers=admin))[0] == 401
    door.draining = True
    assert (await _call("/state", door=door, headers=admin))[0] == 200


async def test_every_request_has_an_id_that_vllm_and_the_client_know():
    """A well-formed id of the client's is kept; anything else is replaced, so that no log line can
    be forged.
    """
    for given, kept in (
        (b"trace-1", True),
        (b'x" forged', False),
        (b"a" * 65, False),
        (None, False),
    ):
        headers = [*AUTHORIZED, *([(b"x-request-id", given)] if given else [])]
        _, _, answered, inner = await _call("/v1/models", headers=headers)
        (seen,) = [value for name, value in inner.scopes[0]["headers"] if name == b"x-request-id"]
        assert answered[b"x-request-id"] == seen
        assert (seen == given) is kept
        assert len(seen) in (7, 32)


@pytest.mark.parametrize("log_prompts", [False, True])
async def test_an_ended_call_is_told_with_its_prompt_only_if_asked(log_prompts):
    """The body reaches the log for a service whose document says so, and no other."""
    told = []
    door = _door(
        log_prompts=log_prompts, ended=lambda call, body: told.append((call.key, call.status, body))
    )
    await _call("/v1/completions", "POST", door=door, body=(b'{"prompt": "secret"}',))
    assert told == [("default", 200, b'{"prompt": "secret"}' if log_prompts else b"")]
    await _call("/v1/completions", "POST", door=door, headers=[])
    assert len(told) == 1
    door.limits = Limits(body=3)
    await _call("/v1/completions", "POST", door=door, body=(b"too long",))
    assert told[1:] == [("default", 413, b"")], "what is refused to a key is told too"


@pytest.mark.parametrize(
    ("headers", "body", "sticky"),
    [
        ([], {"user": "ada"}, "ada"),
        ([], {"safety_identifier": 7}, "7"),
        ([(b"x-moorage-sticky", b"bo")], {"user": "ada"}, "bo"),
        ([], {}, ""),
    ],
)
async def test_the_asking_user_decides_which_version_of_a_split_name_answers(headers, body, sticky):
    """The body's user, or a header that wins over it."""
    seen = []

    async def inner(scope, receive, send):
        seen.append(current_call.get().sticky)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    text = (json.dumps({"model": "red"} | body).encode(),)
    await _call(
        "/v1/completions",
        "POST",
        door=_door(),
        headers=[*AUTHORIZED, *headers],
        body=text,
        inner=inner,
    )
    assert seen == [sticky]


CORS = Cors(allowed_origins=("https://chat.example",), expose_headers=("x-request-id",), max_age=60)


def _browser(origin=b"https://chat.example", asked=b"POST"):
    return [
        (b"origin", origin),
        (b"access-control-request-method", asked),
        (b"access-control-request-headers", b"authorization, content-type"),
    ]


async def test_a_browsers_preflight_is_answered_for_origins_of_the_policy_alone():
    """Without a key, for OpenAI's routes; all else gets what it got without a policy."""
    door = _door(cors=CORS)
    path = "/v1/chat/completions"
    status, body, headers, inner = await _call(path, "OPTIONS", headers=_browser(), door=door)
    assert (status, body, inner.scopes) == (204, b"", [])
    assert headers[b"access-control-allow-origin"] == b"https://chat.example"
    assert headers[b"access-control-allow-methods"] == b"POST"
    assert headers[b"access-control-allow-headers"] == b"authorization, content-type"
    assert headers[b"access-control-max-age"] == b"60"
    for where, origin, policy in (
        (path, b"https://evil.example", CORS),
        (path, b"https://chat.example.evil.example", CORS),
        (path, b"null", CORS),
        (path, b"https://chat.example", None),
        ("/metrics", b"https://chat.example", CORS),
        ("/v1/load_lora_adapter", b"https://chat.example", CORS),
    ):
        status, _, headers, _ = await _call(
            where, "OPTIONS", headers=_browser(origin), door=_door(cors=policy)
        )
        assert status in (404, 405)
        if policy is None or b"evil" in origin or origin == b"null":
            assert b"access-control-allow-origin" not in headers


async def test_answers_and_refusals_can_be_read_by_pages_of_the_policy():
    """Errors too: a page must be able to tell a wrong key from a network that is down."""
    for headers, status in ((AUTHORIZED, 200), ([], 401)):
        sent = [*headers, (b"origin", b"https://chat.example")]
        answer, _, told, _ = await _call("/v1/models", headers=sent, door=_door(cors=CORS))
        assert answer == status
        assert told[b"access-control-allow-origin"] == b"https://chat.example"
        assert told[b"vary"] == b"Origin"
        assert told[b"access-control-expose-headers"] == b"x-request-id"
    door = _door(cors=Cors(allowed_origins=("*",)))
    _, _, told, _ = await _call("/v1/models", headers=[*AUTHORIZED, (b"origin", b"x")], door=door)
    assert told[b"access-control-allow-origin"] == b"*"
    _, _, told, _ = await _call("/v1/models", door=door)
    assert b"access-control-allow-origin" not in told


@pytest.mark.parametrize(
    ("path", "method", "reached"),
    [
        ("/openai/deployments/red/chat/completions", "POST", "/v1/chat/completions"),
        ("/openai/deployments/red/completions", "POST", "/v1/completions"),
        ("/openai/deployments/red/embeddings", "POST", "/v1/embeddings"),
        ("/openai/v1/chat/completions", "POST", "/v1/chat/completions"),
        ("/openai/v1/models", "GET", "/v1/models"),
        ("/openai/models", "GET", "/v1/models"),
        ("/openai/deployments/red/chat/completions", "GET", None),
        ("/openai/deployments/red/metrics", "GET", None),
        ("/openai/deployments/a/b/chat/completions", "POST", None),
        ("/openai/deployments/../chat/completions", "POST", None),
        ("/openai/v1/../metrics", "GET", None),
        ("/openai/v1//openai/v1/models", "GET", None),
        ("/openai//metrics", "GET", None),
        ("/openai/metrics", "GET", None),
        ("/openai/v1/load_lora_adapter", "POST", None),
    ],
)
async def test_azure_openais_urls_lead_to_openais_routes_and_nowhere_else(path, method, reached):
    """With the key in `api-key`; the deployment is the model."""
    headers = [(b"api-key", KEY.encode())]
    status, _, _, inner = await _call(path, method, headers=headers, query_string=b"api-version=1")
    if reached is None:
        assert (status in (404, 405), inner.scopes) == (True, [])
        return
    (scope,) = inner.scopes
    assert (status, scope["path"], scope["raw_path"]) == (200, reached, reached.encode())
    if "deployments" in path:
        assert json.loads(inner.bodies[0])["model"] == "red"
        assert dict(scope["headers"])[b"content-length"] == str(len(inner.bodies[0])).encode()
    encoded = path.replace("v1", "%76%31").encode() + b"%20"
    assert (await _call(path, method, headers=headers, raw=encoded))[0] == 404


async def test_a_deployments_name_is_no_way_around_a_keys_models():
    """The name in the path counts, whatever the body says."""
    door = _door(keys=Keys([api_key("ci", models=("red",))]), base="tiny")
    path = "/openai/deployments/{}/chat/completions"
    body = (b'{"model": "red"}',)
    assert (await _call(path.format("blue"), "POST", door=door, body=body))[0] == 403
    assert (await _call(path.format("red"), "POST", door=door, body=(b"{}",)))[0] == 200


async def test_the_tokenizer_is_for_keys_that_evaluate():
    """To every other key its routes do not exist."""
    door = _door(keys=Keys([api_key("ci"), api_key("eval", "sk-eval", evaluation=True)]))
    evaluating = [(b"authorization", b"Bearer sk-eval")]
    for path in ("/tokenize", "/detokenize"):
        assert (await _call(path, "POST", door=door))[0] == 404
        assert (await _call(path, "POST", door=door, headers=[]))[0] == 401
        status, _, _, inner = await _call(path, "POST", door=door, headers=evaluating)
        assert (status, len(inner.scopes)) == (200, 1)
        assert (await _call(path, "GET", door=door, headers=evaluating))[0] == 404
    long = (b'{"prompt": "' + b"a" * (2 << 20) + b'"}',)
    assert (await _call("/tokenize", "POST", door=door, headers=evaluating, body=long))[0] == 413


async def test_a_packed_body_reaches_vllm_unpacked():
    """With the headers of what it is now."""
    packed = gzip.compress(b'{"model": "red"}')
    headers = [*AUTHORIZED, (b"content-encoding", b"gzip"), (b"content-length", b"36")]
    status, _, _, inner = await _call("/v1/completions", "POST", headers=headers, body=(packed,))
    assert (status, inner.bodies) == (200, [b'{"model": "red"}'])
    names = dict(inner.scopes[0]["headers"])
    assert (names[b"content-length"], b"content-encoding" in names) == (b"16", False)


async def test_an_unknown_model_is_told_with_those_that_the_key_may_use():
    """And with no others."""
    error = {"message": "The model `x` does not exist.", "param": "model", "code": 404}
    inner = Inner(404, (json.dumps({"error": error}).encode(),))
    door = _door(
        keys=Keys([api_key("ci", models=("red", "x"))]), models=lambda: ["tiny", "red", "green"]
    )
    body = (b'{"model": "x"}',)
    _, data, _, _ = await _call("/v1/completions", "POST", door=door, inner=inner, body=body)
    said = json.loads(data)["error"]["message"]
    assert said == "The model `x` does not exist. This key may use: red."


async def test_work_is_taken_from_the_limits_and_given_back():
    """429 with what is left in the headers; a request that can never be taken is 400."""
    keys = Keys([api_key("ci", parallel_requests=2, tokens_per_minute=1000)], clock=lambda: 5.0)
    door, inner = _door(keys=keys), Inner()
    inner.go.clear()
    two = (b'{"n": 2, "max_tokens": 10}',)
    first = asyncio.create_task(
        _call("/v1/chat/completions", "POST", door=door, inner=inner, body=two)
    )
    await inner.entered.acquire()
    status, body, headers, _ = await _call("/v1/chat/completions", "POST", door=door)
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate_limit_exceeded")
    assert headers[b"retry-after"] == b"1"
    assert int(headers[b"x-ratelimit-remaining-tokens"]) < 1000
    inner.go.set()
    status, _, headers, _ = await first
    assert status == 200
    status, body, _, _ = await _call(
        "/v1/chat/completions", "POST", door=door, body=(b'{"n": 3, "max_tokens": 1}',)
    )
    assert (status, json.loads(body)["error"]["code"]) == (400, "limit_exceeded")
    status, _, headers, _ = await _call("/v1/models", door=door)
    assert headers[b"x-ratelimit-remaining-tokens"] == b"1000", "nothing was used, all is back"
