"""Who can reach a service, and from which web pages: the `ingress` of an InferenceService."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from reconciler.api.fields import Bool, Fault, Int, Items, Model, bounded, refuse_any

_ORIGIN = r"\*|https?://[a-z0-9.-]+(:\d{1,5})?"
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_|~-]+"  # what HTTP takes for a method or a header's name
Name = Annotated[
    str,
    bounded(
        lambda value: re.fullmatch(_TOKEN, value, re.ASCII) is not None,
        "{!r} is no method and no name of a header",
        "write a name such as content-type",
    ),
]


class CorsPolicy(Model):
    allowed_origins: Annotated[
        Items[
            Annotated[
                str,
                bounded(
                    lambda value: re.fullmatch(_ORIGIN, value, re.ASCII) is not None,
                    "{!r} is no origin",
                    "write it as https://chat.example.com, without a path, or * for all",
                ),
            ]
        ],
        bounded(bool, "no origin is allowed", "write at least one, or leave corsPolicy out"),
    ]
    """Web pages that may use the service, such as https://chat.example.com; * for all."""
    allowed_methods: Items[Name] = ()
    """Methods that these pages may use; the methods of the route when left out."""
    allowed_headers: Items[Name] = ("*",)
    """Headers that these pages may send."""
    expose_headers: Items[Name] = ()
    """Headers of the answer that these pages may read."""
    max_age: Annotated[Int, Field(ge=0, le=86_400)] | None = None
    """Seconds for which a browser may reuse the answer to a preflight request."""
    allow_credentials: Bool = False
    """Whether these pages may send cookies; API keys need no cookies."""

    @model_validator(mode="after")
    def _no_credentials_for_all(self) -> Self:
        if self.allow_credentials and "*" in self.allowed_origins:
            fault = Fault(
                "allowCredentials is not for every origin: browsers refuse the two together",
                "name the origins",
                ("allowCredentials",),
                key=True,
            )
            refuse_any([fault])
        return self


class Ingress(Model):
    external: Bool = True
    """Whether the endpoint is reachable from outside the environment."""
    cors_policy: CorsPolicy | None = None
    """With `model`: the web pages that may use the endpoint from a browser; none when left out."""
