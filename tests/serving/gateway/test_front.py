"""What a caller meets at a gateway whose services are awake."""

import asyncio
import gzip
import json

import pytest

from serving.catalogue import Cors, KeyLimits, Limits
from serving.gateway.routes import RoutedModel, StartFault
from tests.serving.gateway.conftest import ADMIN_KEY, SERVICE_KEY, key, route
from tests.serving.gateway.stand_in import StandIn


async def test_a_model_leads_to_its_service(gateways):
    """A request reaches the service whose model it names, with the gateway's key, the caller's name
    and the very bytes that came.
    """
    phi, llama = StandIn(), StandIn(words=("llama",))
    gateway = await gateways(phi=phi, llama=llama)
    async with gateway.post(model="llama", headers={"x-request-id": "mine"}) as answer:
        told = await answer.json()
        assert answer.status == 200
        assert answer.headers["x-moorage-answered-by"] == "llama"
        assert answer.headers["x-request-id"] == "mine"
    assert told["choices"][0]["message"]["content"] == "llama"
    assert not phi.seen
    ((path, body, headers),) = llama.seen
    assert (path, body["model"]) == ("/v1/chat/completions", "llama")
    assert headers["authorization"] == "Bearer sk-gateway"
    assert headers["x-moorage-key-name"] == "team"
    assert "x-moorage-key-limits" not in headers
    assert headers["x-request-id"] == "mine"


async def test_a_name_that_two_services_have_needs_the_service(gateways):
    """`support` of two services is reached as `service/support`, and unqualified with a key of one
    service.
    """
    phi, llama = StandIn(), StandIn()
    gateway = await gateways(phi=phi, llama=llama)
    async with gateway.post(model="support") as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (404, "model_not_found")
        assert "phi/support" in error["message"]
    async with gateway.post(model="phi/support") as answer:
        assert answer.status == 200
    async with gateway.post(model="support", token=SERVICE_KEY) as answer:
        assert answer.status == 200
    assert [body["model"] for _, body, _ in phi.seen] == ["support", "support"]
    assert not llama.seen


async def test_models_are_listed_with_their_state(gateways):
    """`/v1/models` lists what the key may use under the names that work, and which are awake."""
    gateway = await gateways(phi=StandIn(), llama=StandIn(awake=False))
    async with gateway.post() as answer:
        assert answer.status == 200
    async with gateway.get("/v1/models") as answer:
        models = {one["id"]: one for one in (await answer.json())["data"]}
    assert set(models) == {"phi", "llama", "phi/support", "llama/support"}
    assert models["phi"]["moorage"] == {"service": "phi", "state": "ready", "seconds_left": None}
    assert models["llama"]["moorage"]["state"] == "asleep"
    assert models["llama"]["moorage"]["seconds_left"] == 90
    assert models["phi/support"]["parent"] == "phi"
    async with gateway.get("/v1/models", SERVICE_KEY) as answer:
        assert {one["id"] for one in (await answer.json())["data"]} == {"phi", "phi/support"}
    async with gateway.get("/v1/models/phi/support") as answer:
        assert (await answer.json())["id"] == "phi/support"


@pytest.mark.parametrize(
    ("path", "token", "more", "status", "code"),
    [
        ("/v1/chat/completions", "sk-wrong", {}, 401, "invalid_api_key"),
        ("/v1/chat/completions", ADMIN_KEY, {}, 401, "invalid_api_key"),
        ("/v1/chat/completions", "sk-phi", {"model": "llama"}, 404, "model_not_found"),
        ("/v1/chat/completions", "sk-narrow", {"model": "llama"}, 403, "model_not_allowed"),
        ("/v1/chat/completions", "sk-everything", {"model": "?"}, 404, "model_not_found"),
        ("/v1/chat/completions", "sk-everything", {"model": 3}, 400, "missing_required_parameter"),
        ("/v1/chat/completions", "sk-everything", {"max_tokens": 9999999}, 400, "invalid_value"),
        ("/v1/unknown", "sk-everything", {}, 404, "unknown_url"),
        ("/v1//chat/completions", "sk-everything", {}, 404, "unknown_url"),
        ("/v1/models", "sk-everything", {}, 405, "method_not_allowed"),
        ("/tokenize", "sk-everything", {}, 404, "unknown_url"),
        ("/metrics", "sk-everything", {}, 405, "method_not_allowed"),
    ],
)
async def test_refusals_have_openais_shape(gateways, path, token, more, status, code):
    """Whatever is refused reaches no service, and says why as OpenAI does."""
    phi = StandIn()
    narrow = key("narrow", "sk-narrow", models=("phi",))
    gateway = await gateways(phi=phi, llama=StandIn(), more={"keys": (narrow, *_keys())})
    async with gateway.post(path, token, **more) as answer:
        error = (await answer.json())["error"]
    if path == "/metrics":
        assert answer.status in (404, 405)
    else:
        assert (answer.status, error["code"]) == (status, code)
    assert not phi.seen


def _keys():
    return (key("team", "sk-everything"), key("ops", ADMIN_KEY, admin=True))


async def test_limits_are_shared_by_all_replicas(gateways):
    """A key's requests and tokens are counted at the gateway: who has used them up is told when to
    come again, and how much is left.
    """
    limited = key("few", "sk-few", requests_per_minute=2, tokens_per_minute=100_000)
    gateway = await gateways(phi=StandIn(), more={"keys": (limited,)})
    left = []
    for _ in range(2):
        async with gateway.post(token="sk-few", max_tokens=10) as answer:
            assert answer.status == 200
            left.append(answer.headers["x-ratelimit-remaining-requests"])
    assert left == ["1", "0"]
    async with gateway.post(token="sk-few", max_tokens=10) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    # A change of the routes gives nothing back.
    gateway.publish(*gateway.services, keys=(limited, *_keys()))
    await gateway.follow()
    async with gateway.post(token="sk-few", max_tokens=10) as answer:
        assert answer.status == 429


async def test_a_request_refused_for_its_content_counts_too(gateways):
    """Judging it was work; the answer says how much is left, and the service hears of none."""
    limited = key("few", "sk-few", requests_per_minute=2)
    phi = StandIn()
    gateway = await gateways(phi=phi, more={"keys": (limited,)})
    told = []
    for _ in range(3):
        async with gateway.post(token="sk-few", n=1000) as answer:
            told.append((answer.status, answer.headers["x-ratelimit-remaining-requests"]))
    assert told == [(400, "1"), (400, "0"), (429, "0")]
    assert not phi.seen


@pytest.mark.parametrize("background", [False, True])
async def test_a_service_is_told_the_limits_of_its_callers_key(background, gateways):
    """Only there the tokens are known; what a client says of its own limits is not passed on."""
    own = KeyLimits(prompt_tokens=50, output_tokens=20)
    keys = (key("small", "sk-small", limits=own), key("team", "sk-team"))
    phi = StandIn()
    gateway = await gateways(phi=phi, more={"keys": keys})
    for token in ("sk-small", "sk-team"):
        forged = {"x-moorage-key-limits": "9,9,9"}
        if background:
            body = {"model": "phi", "input": "hi", "background": True}
            headers = {"authorization": f"Bearer {token}", **forged}
            asked = gateway.session.post(f"{gateway.url}/v1/responses", json=body, headers=headers)
        else:
            asked = gateway.post(token=token, headers=forged)
        async with asked as answer:
            assert answer.status == 200
    while len(phi.seen) < 2:
        await asyncio.sleep(0.01)
    told = {seen[2]["x-moorage-key-name"]: seen[2].get("x-moorage-key-limits") for seen in phi.seen}
    assert told == {"small": "50,20,", "team": None}


async def test_models_say_until_when_they_are_there(gateways):
    """As the service itself does; a model without a date has no such field."""
    models = (
        RoutedModel(name="phi"),
        RoutedModel(name="red", kind="adapter", shutdown_date="2027-01-31"),
    )
    gateway = await gateways(phi=StandIn(), routes={"phi": {"models": models}})
    async with gateway.get("/v1/models") as answer:
        listed = {one["id"]: one for one in (await answer.json())["data"]}
    assert listed["red"]["shutdown_date"] == "2027-01-31"
    assert "shutdown_date" not in listed["phi"]


async def test_tokens_that_were_ordered_and_not_used_are_given_back(gateways):
    """A request reserves its largest answer and pays for what was made."""
    limited = key("few", "sk-few", tokens_per_minute=1000)
    gateway = await gateways(phi=StandIn(), more={"keys": (limited,)})
    for _ in range(3):
        async with gateway.post(token="sk-few", max_tokens=900) as answer:
            assert answer.status == 200


async def test_a_service_limit_counts_for_every_key(gateways):
    """Requests of the Environment's keys and of the service's own count together."""
    limits = {"phi": {"limits": Limits(requests_per_minute=2)}}
    gateway = await gateways(phi=StandIn(), routes=limits)
    statuses = []
    for token in ("sk-everything", "sk-phi", "sk-everything"):
        async with gateway.post(token=token) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 200, 429]


async def test_changed_routes_are_followed_while_serving(gateways):
    """A new service answers, a removed one does not, and a torn or foreign file changes nothing."""
    phi = StandIn()
    gateway = await gateways(phi=phi)
    (phi_route,) = gateway.services
    gateway.publish(route("next", phi_route.endpoint))
    (gateway.folder / "000000009.json").write_bytes(b'{"sha256": "0", "routes": {}}')
    await gateway.follow()
    async with gateway.post(model="next") as answer:
        assert answer.status == 200
    async with gateway.post(model="phi") as answer:
        assert answer.status == 404


async def test_a_packed_body_and_azures_spelling_are_understood(gateways):
    """Bodies may be packed with gzip, and Azure OpenAI's paths name the model."""
    phi = StandIn()
    gateway = await gateways(phi=phi)
    body = gzip.compress(json.dumps({"messages": []}).encode())
    url = f"{gateway.url}/openai/deployments/phi/chat/completions?api-version=2026-01-01"
    headers = {"api-key": "sk-everything", "content-encoding": "gzip"}
    async with gateway.session.post(url, data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    assert phi.seen[0][1] == {"messages": [], "model": "phi"}


async def test_a_body_that_is_too_long_is_told_so(gateways):
    """413 arrives, chunked or not, before the service hears of it."""
    phi = StandIn()
    gateway = await gateways(phi=phi, routes={"phi": {"limits": Limits(body=1000)}})
    async with gateway.post(messages=[{"role": "user", "content": "x" * 5000}]) as answer:
        assert answer.status == 413
    headers = {"authorization": "Bearer sk-everything"}

    async def chunks():
        for _ in range(10):
            yield b"x" * 500

    url = gateway.url + "/v1/chat/completions"
    async with gateway.session.post(url, data=chunks(), headers=headers) as answer:
        assert answer.status == 413
    assert not phi.seen


async def test_a_browser_is_answered_by_the_policy(gateways):
    """A preflight is answered without a key, and answers carry the origin."""
    policy = Cors(allowed_origins=("https://chat.example",))
    gateway = await gateways(phi=StandIn(), more={"cors": policy, "keys": _keys()})
    origin = {"origin": "https://chat.example"}
    asked = {**origin, "access-control-request-method": "POST"}
    url = gateway.url + "/v1/chat/completions"
    async with gateway.session.options(url, headers=asked) as answer:
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    for stream in (False, True):
        async with gateway.post(headers=origin, stream=stream) as answer:
            assert answer.headers["access-control-allow-origin"] == "https://chat.example"


async def test_a_model_without_a_name_is_the_only_one(gateways):
    """Where the caller can use one service alone, a body without a model means its base."""
    phi = StandIn()
    gateway = await gateways(phi=phi)
    async with gateway.post(model=None) as answer:
        assert answer.status == 200
    assert phi.seen[0][1]["model"] == "phi"


async def test_an_alias_reaches_the_service_under_the_services_name(gateways):
    """A further name is translated; the service hears only its own."""
    models = (RoutedModel(name="phi", aliases=("gpt-4o",)),)
    phi = StandIn()
    gateway = await gateways(phi=phi, routes={"phi": {"models": models}})
    async with gateway.post(model="gpt-4o") as answer:
        assert answer.status == 200
    assert phi.seen[0][1]["model"] == "phi"


async def test_probes_metrics_and_state(gateways):
    """Probes need no key; metrics and state are for an admin key of the Environment, and for
    everybody else they do not exist.
    """
    gateway = await gateways(phi=StandIn())
    for path in ("/live", "/ready"):
        async with gateway.get(path, None) as answer:
            assert answer.status == 200
    for path in ("/metrics", "/state"):
        for token in ("sk-everything", None):
            async with gateway.get(path, token) as answer:
                assert answer.status == 404
    async with gateway.post(stream=True) as answer:
        await answer.read()
    async with gateway.get("/metrics", ADMIN_KEY) as answer:
        text = await answer.text()
    assert 'moorage_gateway_requests_total{key="team",model="phi"} 1.0' in text
    assert 'moorage_gateway_input_tokens_total{key="team",model="phi"} 7.0' in text
    assert 'moorage_gateway_output_tokens_total{key="team",model="phi"} 3.0' in text
    assert 'moorage_gateway_awake{service="phi"} 1.0' in text
    async with gateway.get("/state", ADMIN_KEY) as answer:
        assert (await answer.json())["services"][0]["state"] == "ready"


async def test_a_stream_passes_byte_by_byte(gateways):
    """What a service streams arrives unchanged, with the service's content type."""
    gateway = await gateways(phi=StandIn())
    async with gateway.post(stream=True) as answer:
        text = await answer.text()
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = [line for line in text.splitlines() if line.startswith("data: ")]
    assert [json.loads(line[6:])["choices"][0]["delta"] for line in events[:-1]] == [
        {"content": "one "},
        {"content": "two "},
        {"content": "three "},
        {},
    ]
    assert events[-1] == "data: [DONE]"


async def test_a_service_that_cannot_start_is_told_at_once(gateways):
    """The cause is the answer, and OpenAI's clients do not ask again."""
    fault = StartFault(reason="QuotaExceeded", message="no GPU is left in swedencentral")
    phi = StandIn(awake=False)
    gateway = await gateways(phi=phi, routes={"phi": {"stopped": fault}})
    for stream in (False, True):
        async with gateway.post(stream=stream) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"]) == (503, "service_stopped")
            assert "no GPU is left in swedencentral (QuotaExceeded)" in error["message"]
            assert answer.headers["x-should-retry"] == "false"
    assert not phi.asked


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(gateways):
    """`Expect: 100-continue`, as curl sends it with long bodies, costs no second of waiting; a
    refusal comes without the body.
    """
    phi = StandIn()
    gateway = await gateways(phi=phi, routes={"phi": {"limits": Limits(body=1000)}})
    url = gateway.url + "/v1/chat/completions"
    for size, status in ((10, 200), (5000, 413)):
        body = json.dumps({"model": "phi", "messages": [], "user": "x" * size}).encode()
        headers = {"authorization": "Bearer sk-everything"}
        asked = gateway.session.post(url, data=body, headers=headers, expect100=True)
        async with asyncio.timeout(90), asked as answer:
            assert answer.status == status
    assert len(phi.seen) == 1
