"""Cross-origin requests of browsers, by the document's `ingress.corsPolicy`. Pure; gate.py asks.

A browser sends its preflight without a key, so the gate answers it itself. Without a policy no
origin is allowed, and nothing is added.
"""

from __future__ import annotations

from collections.abc import Iterable

from serving.catalogue import Cors
from serving.request.answers import Answer

Header = tuple[bytes, bytes]


def preflight(policy: Cors | None, headers: Iterable[Header], allowed: str | None) -> Answer | None:
    """The answer to a preflight of a route with the method `allowed`; None when it is none, or not
    of an origin that the policy has.
    """
    given = dict(headers)
    if policy is None or allowed is None or b"access-control-request-method" not in given:
        return None
    common = added(policy, given.items())
    if not common:
        return None
    asked = given.get(b"access-control-request-headers", b"").decode("latin-1")
    methods = policy.allowed_methods or (allowed,)
    told = [(b"access-control-allow-methods", ", ".join(methods).encode())]
    if names := (policy.allowed_headers if policy.allowed_headers != ("*",) else (asked,)):
        told.append(
            (b"access-control-allow-headers", ", ".join(names).encode("latin-1", "replace"))
        )
    if policy.max_age is not None:
        told.append((b"access-control-max-age", str(policy.max_age).encode()))
    return Answer(204, b"", (*common, *told))


def added(policy: Cors | None, headers: Iterable[Header]) -> list[Header]:
    """The additional headers of an answer to this request."""
    origin = next((value for name, value in headers if name == b"origin"), None)
    if policy is None or origin is None:
        return []
    every = "*" in policy.allowed_origins
    if not every and origin.decode("latin-1") not in policy.allowed_origins:
        return []
    # With credentials a browser takes no star, and the document's check refuses the two together.
    told: list[Header] = [(b"access-control-allow-origin", b"*" if every else origin)]
    told += [] if every else [(b"vary", b"Origin")]
    if policy.allow_credentials:
        told.append((b"access-control-allow-credentials", b"true"))
    if policy.expose_headers:
        told.append((b"access-control-expose-headers", ", ".join(policy.expose_headers).encode()))
    return told
