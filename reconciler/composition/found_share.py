"""The fields of a document that describe what a share holds: adapters, keys, limits and a gateway's
routes. Pure, and the inverse of `gate`; `found_documents` does the same for Azure's resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from reconciler.api import auth_fields
from reconciler.api.gateway_fields import Gateway, GatewayHold, gateway_name
from reconciler.api.ingress_fields import CorsPolicy
from reconciler.composition.found_values import Body, at, container, cpu
from reconciler.composition.gateway import GRACE
from serving.catalogue import GATEWAY_KEY, Adapter, ApiKey, Catalogue, Cors, Limits
from serving.gateway.routes import GatewayRoutes

DEFAULT_KEYS = [{"name": "default"}]


class FoundOnShare(NamedTuple):
    """Fields of a document's spec, by name, and the comments about them."""

    fields: dict[str, Any]
    comments: tuple[str, ...] = ()


def service_fields(catalogue: Catalogue) -> FoundOnShare:
    """The fields for what replicas follow: their adapters, keys, limits and CORS policy."""
    keys = keys_of(catalogue.api_keys)
    ways = cors_of(catalogue.cors)
    fields = {
        "adapters": [_adapter(each) for each in catalogue.adapters],
        "auth": {"apiKeys": keys} if keys != DEFAULT_KEYS else {},
        "limits": _limits(catalogue.limits),
        "requestLog": {"prompts": True} if catalogue.log_prompts else {},
        "ingress": {"corsPolicy": ways} if ways else {},
    }
    said = {name: value for name, value in fields.items() if value}
    return FoundOnShare(said, tuple(_left_out(catalogue.adapters)))


def gateway_fields(app: Body, environment: str, routes: GatewayRoutes | None) -> FoundOnShare:
    """The `gateway` of an Environment, from its container app and its routes; without routes only
    what the app says.
    """
    template = at(app, "properties", "template")
    external = at(app, "properties", "configuration", "ingress", "external")
    said: dict[str, Any] = {
        "name": str(app["name"]),
        "minReplicas": int(at(template, "scale", "minReplicas") or 1),
        "external": bool(external),
        "hold": {"seconds": _held(app)},
    }
    if cores := cpu(app):
        said["cpu"] = float(cores)
    comments = []
    if routes is None:
        comments.append("the routes of the gateway cannot be read: write its keys and fallback")
    else:
        said["hold"]["maxRequests"] = routes.hold.max_requests
        said["apiKeys"] = keys_of(routes.keys) or DEFAULT_KEYS
        said["fallback"] = dict(_fallbacks(routes))
        said["corsPolicy"] = cors_of(routes.cors) or None
        if entra := routes.entra:
            allow = [grant.value for grant in entra.allow]
            said["entra"] = {"audience": entra.audience, "tenant": entra.tenant, "allow": allow}
    given = Gateway.model_validate(said)
    fields = given.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    if given.name == gateway_name(environment, Gateway()):
        fields.pop("name", None)
    if fields.get("apiKeys") == DEFAULT_KEYS:
        fields.pop("apiKeys")
    return FoundOnShare(fields, tuple(comments))


def keys_of(keys: Iterable[ApiKey]) -> list[dict[str, Any]]:
    """API keys by name, with what each may do; never a gateway's own."""
    return [_key(each) for each in keys if each.name != GATEWAY_KEY]


def cors_of(policy: Cors | None) -> dict[str, Any]:
    if policy is None:
        return {}
    return CorsPolicy(**policy.model_dump()).model_dump(
        mode="json", by_alias=True, exclude_defaults=True
    )


def _key(key: ApiKey) -> dict[str, Any]:
    rate = {
        "requestsPerMinute": key.requests_per_minute,
        "tokensPerMinute": key.tokens_per_minute,
        "parallelRequests": key.parallel_requests,
    }
    limits = key.limits.model_dump(by_alias=True) if key.limits else {}
    said = {
        "name": key.name,
        "models": list(key.models) if key.models is not None else None,
        "rateLimit": _given(rate),
        "limits": _given(limits),
        "evaluation": key.evaluation or None,
        "admin": key.admin or None,
    }
    return _given(said)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, {})}


def _limits(found: Limits) -> dict[str, Any]:
    """The limits that are not the defaults, without `opened`, which follows from vLLM's flags."""
    fields = found.model_dump(exclude={"body", "schema_bytes", "media_bytes", "opened"})
    given = auth_fields.Limits.model_validate(
        {
            **fields,
            "bodyMiB": found.body >> 20,
            "schemaKiB": found.schema_bytes >> 10,
            "mediaMiB": found.media_bytes >> 20,
        }
    )
    return given.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _adapter(adapter: Adapter) -> dict[str, Any]:
    said: dict[str, Any] = {"name": adapter.name, "source": f"share://{adapter.desired.path}"}
    if adapter.required:
        said["required"] = True
    if adapter.shutdown_date:
        said["shutdownDate"] = adapter.shutdown_date
    if canary := adapter.canary:
        said["canary"] = {
            "source": f"share://{canary.version.path}",
            "weight": canary.weight,
        }
    return said


def _left_out(adapters: Iterable[Adapter]) -> Iterator[str]:
    """Comments on the fields of adapters that the share does not hold as a document has them."""
    for each in adapters:
        if each.evaluation or (each.canary and each.canary.evaluation):
            yield f"the evaluation of the adapter {each.name} is a file of yours: write its name"
        if each.canary:
            yield (
                f"when the canary of {each.name} is promoted (promoteAfter, maxErrorRate) is in no"
                " file of the share: write it here"
            )


def _held(app: Body) -> int:
    """How long a gateway holds a request, derived from its container's grace period."""
    words = [str(word) for word in container(app).get("args") or ()]
    grace = dict(pairwise(words)).get("--grace", "")
    if not grace.isdigit() or int(grace) <= GRACE:
        return GatewayHold().seconds
    return int(grace) - GRACE


def _fallbacks(routes: GatewayRoutes) -> Iterator[tuple[str, str]]:
    for service in routes.services:
        if service.fallback:
            yield service.name, service.fallback
        for model in service.models:
            if model.kind == "adapter" and model.fallback:
                yield f"{service.name}/{model.name}", model.fallback
