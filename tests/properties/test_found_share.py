"""What a document says of adapters, keys, limits and a gateway, read back from what the loop wrote
on the share for it: the document that comes of it asks for the same.
"""

from __future__ import annotations

from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reconciler.api.auth_fields import ApiKey, Limits
from reconciler.api.gateway_fields import Gateway
from reconciler.api.ingress_fields import CorsPolicy
from reconciler.composition import gate
from reconciler.composition.found_share import gateway_fields, service_fields
from reconciler.composition.gateway import GRACE
from serving.catalogue import GATEWAY_KEY, Adapter, AdapterVersion, Canary, Catalogue, Cors
from serving.catalogue import ApiKey as WrittenKey
from serving.gateway.routes import GatewayRoutes, HoldLimits, RoutedModel, RoutedService

COUNT = st.integers(1, 1000)


def maybe(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


KEYS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["default", "team", "guest"])},
        optional={
            "models": st.lists(st.sampled_from(["phi", "support"]), min_size=1, unique=True),
            "rateLimit": maybe(requestsPerMinute=COUNT, tokensPerMinute=COUNT).filter(bool),
            "limits": maybe(promptTokens=COUNT, outputTokens=COUNT, sequences=COUNT),
            "evaluation": st.booleans(),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda key: key["name"],
)
LIMITS = maybe(
    bodyMiB=st.integers(1, 64),
    promptTokens=COUNT,
    outputTokens=COUNT,
    schemaKiB=st.integers(1, 99),
    mediaMiB=st.integers(1, 99),
    mediaDomains=st.just(["images.example.com"]),
    parallelRequests=COUNT,
    requestsPerMinute=COUNT,
)
CORS = st.fixed_dictionaries(
    {"allowedOrigins": st.sampled_from([["*"], ["https://a.example"]])},
    optional={"maxAge": st.integers(0, 100), "exposeHeaders": st.just(["x-a"])},
)


def written(keys: list[ApiKey]) -> tuple[WrittenKey, ...]:
    own = WrittenKey(name=GATEWAY_KEY, sha256="0" * 64)
    return (*(gate.key(key).with_hash("a" * 64) for key in keys), own)


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(
    keys=KEYS,
    limits=LIMITS,
    cors=st.none() | CORS,
    required=st.booleans(),
    weight=st.none() | st.integers(0, 100),
)
def test_a_service_asks_for_what_its_catalogue_says(
    keys: Any, limits: Any, cors: Any, required: bool, weight: int | None
) -> None:
    """Adapters by their folders on the share, keys without the gateway's, and only those limits that
    are no defaults.
    """
    documented = [ApiKey.model_validate(key) for key in keys]
    asked = gate.limits(Limits.model_validate(limits), {})
    ways = gate.cors(CorsPolicy.model_validate(cors)) if cors else None
    version = AdapterVersion(digest="b" * 64, path="adapters/support/bbb")
    trial = AdapterVersion(digest="c" * 64, path="adapters/support/ccc")
    adapter = Adapter(
        name="support",
        desired=version,
        required=required,
        canary=None if weight is None else Canary(version=trial, weight=weight),
    )
    catalogue = Catalogue(
        service="phi",
        engine="e",
        epoch=1,
        generation=1,
        adapters=(adapter,),
        api_keys=written(documented),
        limits=asked,
        cors=ways,
    )
    found = service_fields(catalogue).fields
    said = [ApiKey.model_validate(key) for key in found.get("auth", {}).get("apiKeys", [])]
    assert said == documented or (not said and [key.name for key in documented] == ["default"])
    assert gate.limits(Limits.model_validate(found.get("limits", {})), {}) == asked
    there = found.get("ingress", {}).get("corsPolicy")
    assert (gate.cors(CorsPolicy.model_validate(there)) if there else None) == ways
    (given_adapter,) = found["adapters"]
    assert given_adapter["source"] == "share://adapters/support/bbb"
    assert given_adapter.get("required", False) is required
    assert given_adapter.get("canary", {}).get("weight") == weight


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(
    gateway=st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("door"),
            "minReplicas": st.integers(1, 3),
            "cpu": st.sampled_from([0.25, 0.5, 1.0]),
            "external": st.booleans(),
            "hold": maybe(seconds=st.integers(1, 235), maxRequests=COUNT),
            "apiKeys": KEYS,
            "fallback": st.sampled_from(
                [{}, {"phi": "chat"}, {"phi/support": "chat", "phi": "chat/x"}]
            ),
            "corsPolicy": CORS,
        },
    )
)
def test_an_environment_asks_for_the_gateway_that_is_there(gateway: Any) -> None:
    """From its container app and its routes, field by field."""
    asked = Gateway.model_validate(gateway)
    app = {
        "name": asked.name or "gw-dev",
        "properties": {
            "configuration": {"ingress": {"external": asked.external}},
            "template": {
                "containers": [
                    {
                        "name": "gateway",
                        "args": ["--port", "8000", "--grace", str(asked.hold.seconds + GRACE)],
                        "resources": asked.size,
                    }
                ],
                "scale": {"minReplicas": asked.min_replicas},
            },
        },
    }
    ways = gate.cors(asked.cors_policy)
    routes = GatewayRoutes(
        environment="dev",
        generation=1,
        keys=written(list(asked.api_keys))[:-1],
        hold=HoldLimits(seconds=asked.hold.seconds, max_requests=asked.hold.max_requests),
        cors=ways if isinstance(ways, Cors) else None,
        services=(
            RoutedService(
                name="phi",
                endpoint="https://phi",
                fallback=asked.fallback.get("phi"),
                models=(
                    RoutedModel(name="phi"),
                    RoutedModel(
                        name="support",
                        kind="adapter",
                        fallback=asked.fallback.get("phi/support"),
                    ),
                ),
            ),
        ),
    )
    found = gateway_fields(app, "dev", routes)
    assert found.comments == ()
    assert Gateway.model_validate(found.fields) == asked.model_copy(
        update={"memory": None, "name": asked.name}
    )
