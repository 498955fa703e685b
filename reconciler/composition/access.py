"""The access rights of a service's container app, which are its secrets, its managed identities
and its registries, and the body that holds them. Pure; `service` puts them into the app.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.api.identity_fields import ManagedIdentity, Registry
from reconciler.api.resources import AppSecret
from reconciler.api.secret_fields import Secret
from reconciler.api.service import InferenceServiceSpec
from reconciler.api.source import Missing
from reconciler.composition.surroundings import SourceMissingError, Surroundings
from reconciler.composition.world import World


def secrets_of(service: str, documented: Sequence[Secret], world: World) -> tuple[AppSecret, ...]:
    """The secrets of a service's app.

    Raises:
        SourceMissingError: a value cannot be read.
    """
    return tuple(_secret(service, secret, world) for secret in documented)


def _secret(service: str, secret: Secret, world: World) -> AppSecret:
    if secret.key_vault_url:
        return AppSecret(
            secret.name, key_vault_url=secret.key_vault_url, identity=secret.identity or ""
        )
    found = world.secrets[service, secret.name]
    if isinstance(found, Missing):
        raise SourceMissingError(found)
    return AppSecret(secret.name, found)


def read_by_revision(spec: InferenceServiceSpec, secrets: Sequence[AppSecret]) -> Iterator[str]:
    """One text for each secret that a variable reads, which changes with its value. A replica reads
    it when it starts, so another value needs another revision.
    """
    read = {variable.value_from.secret_ref for variable in spec.env if variable.value_from}
    for secret in secrets:
        if secret.name in read:
            yield f"{secret.name} {secret.digest or secret.key_vault_url}"


def variables(ours: Mapping[str, str], spec: InferenceServiceSpec) -> list[dict[str, str]]:
    """Moorage's variables and those of the document, which may replace them."""
    entries = {name: {"name": name, "value": value} for name, value in ours.items()}
    for variable in spec.env:
        entries[variable.name] = (
            {"name": variable.name, "secretRef": variable.value_from.secret_ref}
            if variable.value_from
            else {"name": variable.name, "value": str(variable.value)}
        )
    return [*entries.values()]


def identity(asked: ManagedIdentity | None) -> dict[str, Any]:
    """The part of an app's body that holds its managed identities; empty if the document does not
    mention them, so that they stay as they are.
    """
    if asked is None:
        return {}
    ids: dict[str, Any] = {name: {} for name in asked.user_assigned_identities}
    users = {"userAssignedIdentities": ids} if ids else {}
    return {"identity": {"type": asked.type.value, **users}}


def registries(asked: Sequence[Registry] | None) -> dict[str, Any]:
    """The part of an app's configuration that holds its registries; empty as for `identity`."""
    if asked is None:
        return {}
    return {"registries": [each.model_dump(by_alias=True, exclude_none=True) for each in asked]}


def body(
    spec: InferenceServiceSpec, place: Surroundings, profile: str, port: int
) -> dict[str, Any]:
    """The fields that belong to the app and not to a revision."""
    return {
        "location": place.names.location,
        "tags": dict(place.tags),
        **identity(spec.identity),
        "properties": {
            "workloadProfileName": profile,
            "configuration": {
                "activeRevisionsMode": "Multiple",
                **registries(spec.registries),
                "ingress": {
                    "external": spec.ingress.external,
                    "targetPort": port,
                    "transport": "Auto",
                    "allowInsecure": False,
                },
            },
        },
    }
