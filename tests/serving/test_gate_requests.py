"""What the gate makes of a request that passes: its model, its key's limits, its identity, its errors
in OpenAI's words.
"""

import asyncio
import gzip
import json

import pytest

from serving.catalogue import Cors, Limits
from serving.request.keys import Keys
from serving.request.traffic import current_call
from tests.serving.gate_call import AUTHORIZED, KEY, Inner, api_key, call, make_door


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
    status, body, _, _ = await call("/v1/chat/completions", "POST", inner=inner)
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    assert "`x`" in json.loads(body)["error"]["message"]
    inner = Inner(404, (b'{"detail":"Not Found"}',))
    status, body, _, _ = await call("/v1/embeddings", "POST", inner=inner)
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
    status, body, headers, _ = await call(
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
    status, body, headers, _ = await call(
        "/v1/chat/completions", "POST", inner=Inner(500, (b"Internal", b" Server Error"))
    )
    assert (status, body, headers[b"x-inner"]) == (500, b"Internal Server Error", b"1")
    status, body, _, _ = await call(
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
    door = make_door(keys=Keys([api_key("ci", models=("red", "green"))]), base="tiny")
    answer, data, _, inner = await call(
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
    door = make_door(
        keys=Keys(
            [api_key("ci", requests_per_minute=2), api_key("default", "sk-other")],
            clock=lambda: 5.0,
        )
    )
    assert [(await call("/v1/completions", "POST", door=door))[0] for _ in range(2)] == [200, 200]
    status, body, headers, inner = await call("/v1/completions", "POST", door=door)
    error = json.loads(body)["error"]
    assert (status, error["code"], error["type"], headers[b"retry-after"]) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
        b"30",
    )
    assert inner.scopes == []
    assert (await call("/v1/models", door=door))[0] == 200
    assert (
        await call(
            "/v1/completions", "POST", door=door, headers=[(b"authorization", b"Bearer sk-other")]
        )
    )[0] == 200


async def test_metrics_and_state_are_for_admin_keys_alone():
    """To every other key they do not exist, and to an admin key the models do not."""
    door = make_door(
        keys=Keys([api_key("default"), api_key("ops", "sk-ops", admin=True)]),
        state=lambda: {"ready": True},
    )
    admin = [(b"authorization", b"Bearer sk-ops")]
    status, body, _, inner = await call("/metrics", door=door, headers=admin)
    assert (status, body, len(inner.scopes)) == (200, b"onetwo", 1)
    status, body, _, inner = await call("/state", door=door, headers=admin)
    assert (status, json.loads(body), inner.scopes) == (200, {"ready": True}, [])
    for path in ("/metrics", "/state"):
        for headers in (AUTHORIZED, []):
            assert (await call(path, door=door, headers=headers))[0] == 404
        assert (await call(path, "POST", door=door, headers=admin))[0] == 404
        assert (await call(path, door=door, headers=admin, raw=path.encode() + b"%20"))[0] == 404
    assert (await call("/metrics/x", door=door, headers=admin))[0] == 404
    assert (await call("/v1/models", door=door, headers=admin))[0] == 401
    door.draining = True
    assert (await call("/state", door=door, headers=admin))[0] == 200


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
        _, _, answered, inner = await call("/v1/models", headers=headers)
        (seen,) = [value for name, value in inner.scopes[0]["headers"] if name == b"x-request-id"]
        assert answered[b"x-request-id"] == seen
        assert (seen == given) is kept
        assert len(seen) in (7, 32)


@pytest.mark.parametrize("log_prompts", [False, True])
async def test_an_ended_call_is_told_with_its_prompt_only_if_asked(log_prompts):
    """The body reaches the log for a service whose document says so, and no other."""
    told = []
    door = make_door(
        log_prompts=log_prompts, ended=lambda call, body: told.append((call.key, call.status, body))
    )
    await call("/v1/completions", "POST", door=door, body=(b'{"prompt": "secret"}',))
    assert told == [("default", 200, b'{"prompt": "secret"}' if log_prompts else b"")]
    await call("/v1/completions", "POST", door=door, headers=[])
    assert len(told) == 1
    door.limits = Limits(body=3)
    await call("/v1/completions", "POST", door=door, body=(b"too long",))
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
    await call(
        "/v1/completions",
        "POST",
        door=make_door(),
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
    door = make_door(cors=CORS)
    path = "/v1/chat/completions"
    status, body, headers, inner = await call(path, "OPTIONS", headers=_browser(), door=door)
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
        status, _, headers, _ = await call(
            where, "OPTIONS", headers=_browser(origin), door=make_door(cors=policy)
        )
        assert status in (404, 405)
        if policy is None or b"evil" in origin or origin == b"null":
            assert b"access-control-allow-origin" not in headers


async def test_answers_and_refusals_can_be_read_by_pages_of_the_policy():
    """Errors too: a page must be able to tell a wrong key from a network that is down."""
    for headers, status in ((AUTHORIZED, 200), ([], 401)):
        sent = [*headers, (b"origin", b"https://chat.example")]
        answer, _, told, _ = await call("/v1/models", headers=sent, door=make_door(cors=CORS))
        assert answer == status
        assert told[b"access-control-allow-origin"] == b"https://chat.example"
        assert told[b"vary"] == b"Origin"
        assert told[b"access-control-expose-headers"] == b"x-request-id"
    door = make_door(cors=Cors(allowed_origins=("*",)))
    _, _, told, _ = await call("/v1/models", headers=[*AUTHORIZED, (b"origin", b"x")], door=door)
    assert told[b"access-control-allow-origin"] == b"*"
    _, _, told, _ = await call("/v1/models", door=door)
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
    status, _, _, inner = await call(path, method, headers=headers, query_string=b"api-version=1")
    if reached is None:
        assert (status in (404, 405), inner.scopes) == (True, [])
        return
    (scope,) = inner.scopes
    assert (status, scope["path"], scope["raw_path"]) == (200, reached, reached.encode())
    if "deployments" in path:
        assert json.loads(inner.bodies[0])["model"] == "red"
        assert dict(scope["headers"])[b"content-length"] == str(len(inner.bodies[0])).encode()
    encoded = path.replace("v1", "%76%31").encode() + b"%20"
    assert (await call(path, method, headers=headers, raw=encoded))[0] == 404


async def test_a_deployments_name_is_no_way_around_a_keys_models():
    """The name in the path counts, whatever the body says."""
    door = make_door(keys=Keys([api_key("ci", models=("red",))]), base="tiny")
    path = "/openai/deployments/{}/chat/completions"
    body = (b'{"model": "red"}',)
    assert (await call(path.format("blue"), "POST", door=door, body=body))[0] == 403
    assert (await call(path.format("red"), "POST", door=door, body=(b"{}",)))[0] == 200


async def test_the_tokenizer_is_for_keys_that_evaluate():
    """To every other key its routes do not exist."""
    door = make_door(keys=Keys([api_key("ci"), api_key("eval", "sk-eval", evaluation=True)]))
    evaluating = [(b"authorization", b"Bearer sk-eval")]
    for path in ("/tokenize", "/detokenize"):
        assert (await call(path, "POST", door=door))[0] == 404
        assert (await call(path, "POST", door=door, headers=[]))[0] == 401
        status, _, _, inner = await call(path, "POST", door=door, headers=evaluating)
        assert (status, len(inner.scopes)) == (200, 1)
        assert (await call(path, "GET", door=door, headers=evaluating))[0] == 404
    long = (b'{"prompt": "' + b"a" * (2 << 20) + b'"}',)
    assert (await call("/tokenize", "POST", door=door, headers=evaluating, body=long))[0] == 413


async def test_a_packed_body_reaches_vllm_unpacked():
    """With the headers of what it is now."""
    packed = gzip.compress(b'{"model": "red"}')
    headers = [*AUTHORIZED, (b"content-encoding", b"gzip"), (b"content-length", b"36")]
    status, _, _, inner = await call("/v1/completions", "POST", headers=headers, body=(packed,))
    assert (status, inner.bodies) == (200, [b'{"model": "red"}'])
    names = dict(inner.scopes[0]["headers"])
    assert (names[b"content-length"], b"content-encoding" in names) == (b"16", False)


async def test_an_unknown_model_is_told_with_those_that_the_key_may_use():
    """And with no others."""
    text = "The model `x` does not exist. Valid aliases: tiny."
    error = {"message": text, "param": "model", "code": 404}
    inner = Inner(404, (json.dumps({"error": error}).encode(),))
    door = make_door(
        keys=Keys([api_key("ci", models=("red", "x"))]), models=lambda: ["tiny", "red", "green"]
    )
    body = (b'{"model": "x"}',)
    _, data, _, _ = await call("/v1/completions", "POST", door=door, inner=inner, body=body)
    said = json.loads(data)["error"]["message"]
    assert said == "The model `x` does not exist. This key may use: red."


async def test_work_is_taken_from_the_limits_and_given_back():
    """429 with what is left in the headers; a request that can never be taken is 400."""
    keys = Keys([api_key("ci", parallel_requests=2, tokens_per_minute=1000)], clock=lambda: 5.0)
    door, inner = make_door(keys=keys), Inner()
    inner.go.clear()
    two = (b'{"n": 2, "max_tokens": 10}',)
    first = asyncio.create_task(
        call("/v1/chat/completions", "POST", door=door, inner=inner, body=two)
    )
    await inner.entered.acquire()
    status, body, headers, _ = await call("/v1/chat/completions", "POST", door=door)
    assert (status, json.loads(body)["error"]["code"]) == (429, "rate_limit_exceeded")
    assert headers[b"retry-after"] == b"1"
    assert int(headers[b"x-ratelimit-remaining-tokens"]) < 1000
    inner.go.set()
    status, _, headers, _ = await first
    assert status == 200
    status, body, _, _ = await call(
        "/v1/chat/completions", "POST", door=door, body=(b'{"n": 3, "max_tokens": 1}',)
    )
    assert (status, json.loads(body)["error"]["code"]) == (400, "limit_exceeded")
    status, _, headers, _ = await call("/v1/models", door=door)
    assert headers[b"x-ratelimit-remaining-tokens"] == b"1000", "nothing was used, all is back"


async def test_a_refused_request_counts_too():
    """Looking into it was work: two that name a wrong model leave one of three."""
    keys = Keys([api_key("ci", models=("red",), requests_per_minute=3)], clock=lambda: 5.0)
    door = make_door(keys=keys)
    statuses = [
        (await call("/v1/completions", "POST", door=door, body=(body,)))[0]
        for body in (b'{"model": "x"}', b"no", b'{"model": "red"}', b'{"model": "red"}', b"no")
    ]
    assert statuses == [403, 400, 200, 429, 429]
