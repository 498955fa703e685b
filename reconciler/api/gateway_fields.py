"""The gateway of an Environment in a document: one address for all its services, which wakes those
that sleep.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from reconciler.api import names
from reconciler.api.amounts import Memory
from reconciler.api.auth_fields import ApiKey
from reconciler.api.fields import (
    Bool,
    Fault,
    Int,
    Items,
    Model,
    bounded,
    refusal,
    refuse_any,
    unique,
)
from reconciler.api.ingress_fields import CorsPolicy
from serving.catalogue import GATEWAY_KEY


def _tenant(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value.lower()):
        hint = "it is a GUID; `az account show --query tenantId` prints it"
        raise refusal(Fault(f"{value!r} is no tenant id", hint))
    return value.lower()


PREFIX = "gw-"  # of the name of a gateway that its document leaves out

# A service, or one adapter of a service.
RoutedName = Annotated[
    str,
    bounded(
        lambda value: re.fullmatch(r"[^\s/]+(/[^\s/]+)?", value) is not None,
        "{!r} is no service and no adapter",
        "write a service, or service/adapter",
    ),
]
Cores = Annotated[
    float,
    Field(ge=0.25, le=4, strict=True),
    bounded(
        lambda value: value % 0.25 == 0,
        "the Consumption profile has no replica of {} cores",
        "write a multiple of 0.25",
    ),
]


class GatewayHold(Model):
    seconds: Annotated[Int, Field(ge=1, le=235)] = 220
    """Seconds for which a request that is not streamed waits for a service that starts; the ingress
    of Container Apps ends a request after 240.
    """
    max_requests: Annotated[Int, Field(ge=1, le=10_000)] = 100
    """Requests that wait for one service at a time; more are answered with 503 at once."""


class EntraRule(Model):
    audience: Annotated[
        str,
        bounded(
            lambda value: re.fullmatch(r"[!-~]{1,250}", value, re.ASCII) is not None,
            "{!r} is no audience",
            "write the application ID URI of an app registration, such as api://moorage",
        ),
    ]
    """The audience of tokens that open the gateway: the application ID URI of an app registration,
    such as api://moorage, or its client id.
    """
    tenant: Annotated[str, AfterValidator(_tenant)] | None = None
    """The tenant that issues the tokens; the setting AZURE_TENANT_ID when left out."""
    allow: Items[
        Annotated[
            str,
            bounded(
                lambda value: re.fullmatch(r"[!-~]{1,250}", value, re.ASCII) is not None,
                "{!r} is no app role and no group",
                "write an app role's value, such as Models.Use, or a group's object id",
            ),
        ]
    ] = ()
    """App roles, and object ids of groups, whose holders may call. When left out, everybody with a
    token for the audience may.
    """


class Gateway(Model):
    name: names.ServiceName | None = None
    """The container app's name; `gw-<environment>` when left out."""
    min_replicas: Annotated[Int, Field(ge=1, le=30)] = 1
    """Replicas of the gateway; all of them always run. Each one applies its equal part of a key's
    limits: with two replicas, half of the requests that the key may send in a minute.
    """
    cpu: Cores = 0.25
    """CPU cores of a replica, in steps of 0.25."""
    memory: Memory | None = None
    """Memory of a replica. It follows from `cpu` and may be left out: the Consumption profile gives
    2 GiB for each core, and another value is refused.
    """
    external: Bool = True
    """Whether the gateway is reachable from outside the environment."""
    hold: GatewayHold = GatewayHold()
    """How long a request waits for a service that starts, and how many wait."""
    api_keys: Annotated[
        Items[ApiKey], unique("name", "API key", "remove one of them"), Field(min_length=1)
    ] = (ApiKey(name="default"),)
    """API keys that open all services of the Environment; the keys of a service open that service
    here too.
    """
    entra: EntraRule | None = None
    """Tokens of Microsoft Entra ID that open the gateway beside the keys; none when left out."""
    fallback: Mapping[RoutedName, RoutedName] = Field(default_factory=dict)
    """For a service or service/adapter: the service or service/adapter that answers while the first
    one starts or cannot start. The fallback must be awake, and the caller's key must allow it. The
    entry of a service also applies to its adapters without an entry. The header
    `x-moorage-answered-by` names the service that answered.
    """
    cors_policy: CorsPolicy | None = None
    """The web pages that may use the gateway from a browser; none when left out."""

    @property
    def size(self) -> dict[str, object]:
        """CPU and memory of a replica, as Container Apps takes them."""
        return {"cpu": self.cpu, "memory": f"{2 * self.cpu:g}Gi"}

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if self.memory is not None and float(self.memory.removesuffix("Gi")) != 2 * self.cpu:
            fault = Fault(
                f"the Consumption profile has no replica of {self.cpu:g} cores and {self.memory}",
                f"write {self.size['memory']}, or leave it out",
                ("memory",),
            )
            refuse_any([fault])
        return self

    @model_validator(mode="after")
    def _own_key(self) -> Self:
        refuse_any(
            Fault(
                f"the gateway's own key is called {GATEWAY_KEY!r}",
                "choose another name",
                ("apiKeys", index, "name"),
            )
            for index, key in enumerate(self.api_keys)
            if key.name == GATEWAY_KEY
        )
        return self


def gateway_name(environment: str, gateway: Gateway) -> str:
    """The name of the gateway's container app."""
    return gateway.name or f"{PREFIX}{environment}"
