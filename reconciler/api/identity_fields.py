"""`identity` and `registries` of a service, in Container Apps' own words. `secret_fields` holds the
secrets that they name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from reconciler.api.fields import AnyCaseEnum, Fault, Model, bounded, refusal, refuse_any

SYSTEM = "system"
_ID = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers"
    r"/Microsoft\.ManagedIdentity/userAssignedIdentities/[\w-]+",
    re.IGNORECASE,
)
_ID_HINT = (
    "write its resource id, /subscriptions/…/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/NAME"
)
_SERVER = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?", re.IGNORECASE)


class IdentityType(AnyCaseEnum):
    NONE = "None"
    SYSTEM = "SystemAssigned"
    USER = "UserAssigned"
    BOTH = "SystemAssigned,UserAssigned"

    @classmethod
    def _missing_(cls, value: object) -> AnyCaseEnum | None:
        """Azure answers with a space after the comma."""
        return super()._missing_(value.replace(" ", "") if isinstance(value, str) else value)


class Nothing(Model):
    """What stands behind an identity's id: `{}`."""


def _ids(identities: Mapping[str, Nothing]) -> Mapping[str, Nothing]:
    faults, seen = [], set()
    for name in identities:
        if not _ID.fullmatch(name):
            text = f"{name[:70]!r} is no user-assigned identity"
            faults.append(Fault(text, _ID_HINT, (name,), key=True))
        elif name.casefold() in seen:
            text = f"{name.rsplit('/', 1)[-1]} is named twice: ids have no case"
            faults.append(Fault(text, "keep one of them", (name,), key=True))
        seen.add(name.casefold())
    refuse_any(faults)
    return identities


def _filled(value: Any) -> Any:
    """An id with nothing behind it is YAML's null."""
    if not isinstance(value, Mapping):
        return value
    return {name: {} if inner is None else inner for name, inner in value.items()}


class ManagedIdentity(Model):
    type: IdentityType
    """None, SystemAssigned, UserAssigned, or both as SystemAssigned,UserAssigned."""
    user_assigned_identities: Annotated[
        Mapping[str, Nothing], BeforeValidator(_filled), AfterValidator(_ids)
    ] = {}
    """The resource ids of the user-assigned identities, each with `{}` behind it."""

    @model_validator(mode="after")
    def _type_and_ids(self) -> Self:
        takes = self.type in (IdentityType.USER, IdentityType.BOTH)
        if takes and not self.user_assigned_identities:
            raise refusal(
                Fault(
                    f"the type {self.type} names no identity",
                    "add userAssignedIdentities: {RESOURCE-ID: {}}",
                    ("type",),
                )
            )
        if self.user_assigned_identities and not takes:
            raise refusal(
                Fault(
                    f"userAssignedIdentities cannot be used with the type {self.type}",
                    "write type: UserAssigned",
                    ("userAssignedIdentities",),
                    key=True,
                )
            )
        return self

    def has(self, name: str) -> bool:
        """Whether `system` or the id of an identity is one that the container app has."""
        if name == SYSTEM:
            return self.type in (IdentityType.SYSTEM, IdentityType.BOTH)
        return name.casefold() in {each.casefold() for each in self.user_assigned_identities}


def _named(value: str) -> str:
    if value.lower() == SYSTEM:
        return SYSTEM
    if not _ID.fullmatch(value):
        text = f"{value[:70]!r} is neither {SYSTEM} nor a user-assigned identity"
        raise refusal(Fault(text, _ID_HINT))
    return value


IdentityName = Annotated[str, AfterValidator(_named)]


class Registry(Model):
    server: Annotated[
        str,
        bounded(
            lambda value: _SERVER.fullmatch(value) is not None,
            "{!r} is no registry's host",
            "write its host alone, such as phi.azurecr.io, without https:// and without a path",
        ),
    ]
    """The registry's host, such as phi.azurecr.io."""
    username: str | None = None
    """The user's name, with `passwordSecretRef`."""
    password_secret_ref: str | None = None
    """The name of the secret that holds the password."""
    identity: IdentityName | None = None
    """In place of a password: `system`, or the id of one of the user-assigned identities. It needs
    the role AcrPull at the registry.
    """

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        login = (self.username, self.password_secret_ref)
        if self.identity is not None:
            if any(login):
                text = "a registry takes either an identity or a username with a password"
                raise refusal(Fault(text, "remove one of them", ("identity",), key=True))
        elif not all(login):
            text = f"the registry {self.server} has no complete login"
            hint = "write username and passwordSecretRef, or identity"
            raise refusal(Fault(text, hint, ("server",)))
        return self


def identity_faults(
    identity: ManagedIdentity | None, uses: Iterator[tuple[tuple[str | int, ...], str]]
) -> Iterator[Fault]:
    """Identities that are named at these places and that the container app does not have."""
    for path, name in uses:
        if identity is None or not identity.has(name):
            kind = "SystemAssigned" if name == SYSTEM else "UserAssigned"
            shown = name.rsplit("/", 1)[-1]
            yield Fault(
                f"the service has no identity {shown!r}",
                f"add it to spec.identity, with type: {kind}",
                path,
            )
