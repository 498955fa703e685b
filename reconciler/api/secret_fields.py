"""`secrets` of a service: where their values come from, never the values. `sources.secrets` reads
them, `environment_variables` and `identity_fields` refer to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from reconciler.api.environment_variables import Variable
from reconciler.api.fields import Fault, Items, Model, bounded, refusal, unique
from reconciler.api.identity_fields import IdentityName, ManagedIdentity, Registry, identity_faults

RESERVED = ("api-key-", "moorage-")
# The daemon's own credentials: people who write documents must not get them in a container.
_DAEMON = ("AZURE_", "MOORAGE_", "IDENTITY_", "MSI_", "ARM_", "ACTIONS_", "LD_", "SSH_")
_VAULT = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?/secrets/[A-Za-z0-9-]+(/[0-9a-fA-F]+)?")
_NEVER = "a secret's value may not stand in the document"
_INSTEAD = "write valueFrom: {file: ./FILE}, valueFrom: {env: VARIABLE}, or keyVaultUrl"


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", value, re.ASCII):
        text = f"{value[:70]!r} cannot be the name of a secret"
        raise refusal(Fault(text, "it takes small letters, digits, '-' and '.'"))
    if value.startswith(RESERVED):
        text = f"{value} is not yours to set: Moorage keeps its own secrets under such names"
        raise refusal(Fault(text, f"do not start it with {' or '.join(RESERVED)}"))
    return value


def _file(value: str) -> str:
    # The text is not shown: somebody may have put the value itself here.
    if not value or len(value) > 1024 or any(ord(letter) < 32 for letter in value):
        raise refusal(Fault("this is no path of a file", "write file: ./FILE, on one line"))
    return value


def _variable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", value, re.ASCII):
        hint = "write the name of a variable, not its value"
        raise refusal(Fault("this is no name of an environment variable", hint))
    if value.upper().startswith(_DAEMON):
        text = f"{value} cannot be given to a container: the daemon signs in with such variables"
        raise refusal(Fault(text, "put the value into a variable of another name"))
    return value


class SecretSource(Model):
    file: Annotated[str, AfterValidator(_file)] | None = None
    """A file beside the document, read where the daemon runs; one line break at its end does not
    count.
    """
    env: Annotated[str, AfterValidator(_variable)] | None = None
    """A variable in the daemon's own environment."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise refusal(Fault("valueFrom takes one of file and env", _INSTEAD))
        return self


class Secret(Model):
    name: Annotated[str, AfterValidator(_name)]
    """The secret's name in the container app, to which `secretRef` and `passwordSecretRef`
    refer.
    """
    value_from: SecretSource | None = None
    """Where the daemon reads the value."""
    key_vault_url: (
        Annotated[
            str,
            bounded(
                lambda value: _VAULT.fullmatch(value) is not None,
                "{!r} is no secret of a Key Vault",
                "write https://VAULT.vault.azure.net/secrets/NAME",
            ),
        ]
        | None
    ) = None
    """In place of `valueFrom`: the secret in a Key Vault, which Azure reads itself."""
    identity: IdentityName | None = None
    """With `keyVaultUrl`: `system`, or the id of one of the user-assigned identities. It needs the
    role Key Vault Secrets User.
    """

    @model_validator(mode="before")
    @classmethod
    def _no_value(cls, given: Any) -> Any:
        """A value here would be in Git and in every backup, so the refusal does not repeat it."""
        if not isinstance(given, Mapping):
            raise refusal(Fault("a secret has a name and says where its value is", _INSTEAD))
        if "value" in given:
            raise refusal(Fault(_NEVER, _INSTEAD, ("value",), key=True))
        if isinstance(given.get("valueFrom"), str):
            raise refusal(Fault(_NEVER, _INSTEAD, ("valueFrom",)))
        return given

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.value_from is None) == (self.key_vault_url is None):
            text = f"the secret {self.name} takes one of valueFrom and keyVaultUrl"
            raise refusal(Fault(text, _INSTEAD, ("name",)))
        if self.key_vault_url and self.identity is None:
            text = f"the secret {self.name} does not say who may read the Key Vault"
            hint = "add identity: system, or the id of a user-assigned identity"
            raise refusal(Fault(text, hint, ("keyVaultUrl",), key=True))
        if self.value_from and self.identity is not None:
            text = "identity belongs to a secret with keyVaultUrl"
            raise refusal(Fault(text, "leave it out", ("identity",), key=True))
        return self


Secrets = Annotated[Items[Secret], unique("name", "secret", "keep one of them")]
Registries = Annotated[
    Items[Registry], unique("server", "registry", "keep one of them", ignoring_case=True)
]


def reference_faults(
    variables: Sequence[Variable],
    secrets: Sequence[Secret],
    registries: Sequence[Registry],
    identity: ManagedIdentity | None,
) -> Iterator[Fault]:
    """References to secrets and identities that the service does not have."""
    names = {secret.name for secret in secrets}
    known = f"it has {', '.join(sorted(names))}" if names else "it has none: write spec.secrets"
    uses: list[tuple[tuple[str | int, ...], str]] = [
        (("env", index, "valueFrom", "secretRef"), variable.value_from.secret_ref)
        for index, variable in enumerate(variables)
        if variable.value_from
    ]
    uses += [
        (("registries", index, "passwordSecretRef"), registry.password_secret_ref)
        for index, registry in enumerate(registries)
        if registry.password_secret_ref
    ]
    for path, name in uses:
        if name not in names:
            yield Fault(f"the service has no secret {name[:70]!r}", known, path)
    yield from identity_faults(identity, _identities(secrets, registries))


def references(body: Any) -> Iterator[str]:
    """The names of the secrets to which an ARM body or a part of one refers."""
    if isinstance(body, Mapping):
        for field, value in body.items():
            if field in ("secretRef", "passwordSecretRef"):
                yield str(value)
            else:
                yield from references(value)
    elif isinstance(body, list | tuple):
        for value in body:
            yield from references(value)


def _identities(
    secrets: Sequence[Secret], registries: Sequence[Registry]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    named: dict[str, Sequence[Secret | Registry]] = {"secrets": secrets, "registries": registries}
    for field, items in named.items():
        for index, each in enumerate(items):
            if each.identity:
                yield (field, index, "identity"), each.identity
