"""The rules for a service's gate: keys, limits and CORS, from a document's fields into those of the
catalogue. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reconciler.api import auth_fields
from reconciler.api.auth_fields import ApiKey
from reconciler.api.gateway_fields import EntraRule
from reconciler.api.ingress_fields import CorsPolicy
from reconciler.api.openings import opened_fields
from reconciler.api.resources import CatalogueKey, GatewayInFront
from serving.catalogue import Cors, KeyLimits, Limits
from serving.gateway.routes import EntraGrant, EntraPolicy


def key(documented: ApiKey) -> CatalogueKey:
    rate, own = documented.rate_limit, documented.limits
    of_its_own = KeyLimits(
        prompt_tokens=own.prompt_tokens, output_tokens=own.output_tokens, sequences=own.sequences
    )
    return CatalogueKey(
        documented.name,
        documented.models,
        rate.requests_per_minute if rate else None,
        rate.tokens_per_minute if rate else None,
        rate.parallel_requests if rate else None,
        None if of_its_own == KeyLimits() else of_its_own,
        documented.evaluation,
        documented.admin,
    )


def in_front(
    app: str, keys: Iterable[ApiKey], documented: auth_fields.Limits
) -> GatewayInFront | None:
    """The gateway `app`; the limits of its own key are those of the most generous of `keys`, which
    are those of the service and of the Environment. None if there is no gateway.
    """
    if not app:
        return None
    most: dict[str, int | None] = {}
    for name in KeyLimits.model_fields:
        own = getattr(documented, name)
        asked = [given for key in keys if (given := getattr(key.limits, name)) is not None]
        # Without a limit in the service, the model's own counts, and no key can exceed that.
        most[name] = max(asked) if asked and own is not None and max(asked) > own else None
    return GatewayInFront(app, KeyLimits(**most) if any(most.values()) else None)


def evaluator(keys: Sequence[ApiKey], service: str) -> str:
    """The name of a key that may use the base model; empty if none may."""
    may = (one.name for one in keys if one.models is None or service in one.models)
    return next(may, "")


def limits(documented: auth_fields.Limits, flags: Mapping[str, Any]) -> Limits:
    return Limits(
        body=documented.body_mi_b << 20,
        prompt_tokens=documented.prompt_tokens,
        output_tokens=documented.output_tokens,
        sequences=documented.sequences,
        messages=documented.messages,
        tools=documented.tools,
        schema_bytes=documented.schema_ki_b << 10,
        schema_parts=documented.schema_parts,
        media_bytes=documented.media_mi_b << 20,
        media_domains=documented.media_domains,
        parallel_requests=documented.parallel_requests,
        requests_per_minute=documented.requests_per_minute,
        tokens_per_minute=documented.tokens_per_minute,
        opened=opened_fields(flags),
    )


def cors(policy: CorsPolicy | None) -> Cors | None:
    return None if policy is None else Cors(**policy.model_dump())


def entra(tokens: EntraRule | None, tenant: str, authority: str) -> EntraPolicy | None:
    """Which tokens a gateway accepts. `tenant` is the default if the document names none;
    `authority` is that of the cloud.
    """
    if tokens is None:
        return None
    issued = f"{authority.rstrip('/')}/{tokens.tenant or tenant}"
    return EntraPolicy(
        tenant=tokens.tenant or tenant,
        audience=tokens.audience,
        issuer=f"{issued}/v2.0",
        jwks_url=f"{issued}/discovery/v2.0/keys",
        allow=tuple(EntraGrant(value=value) for value in tokens.allow),
    )
