"""The secrets of a container app that its document gives: which of them differ in Azure, and the
list that is written. `api_keys` are Moorage's own. `container_app` asks.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.api.outputs import AppOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import AppSecret, ContainerAppSpec
from reconciler.api.secret_fields import references
from reconciler.api.secret_values import SecretValues
from reconciler.arm import apps
from reconciler.arm.clients import Arm
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import Change
from reconciler.engine.sameness import is_same
from reconciler.kinds.service import api_keys

_PATH, _END = "configuration.secrets[", "]"
Entries = Mapping[str, Mapping[str, Any]]


class AppSecrets:
    """Azure leaves the values out of the app, so `listSecrets` is called: at the first look, when
    the documents give another value, and when anybody has written to the app since.
    """

    def __init__(self, arm: Arm, values: SecretValues) -> None:
        self._arm, self._values = arm, values
        self._same: dict[str, tuple[str, tuple[AppSecret, ...]]] = {}

    async def changes(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs | None
    ) -> tuple[Change, ...]:
        """The secrets to write, and those to drop because no document names them any more."""
        there = _entries(found)
        missing = [
            Change(_at(each), None, "(secret)") for each in spec.secrets if _new(each, there)
        ]
        others = [each for each in spec.secrets if not _new(each, there)]
        moved = [change for each in others for change in _moved(each, there[each.name])]
        other = await self._others(spec, found, others)
        return (
            *missing,
            *moved,
            *(Change(_at(each), "(secret)", "(changed secret)") for each in other),
            *[
                Change(f"{_PATH}{name}{_END}", "(secret)", None)
                for name in await self._unused(spec, found, before)
            ],
        )

    def creation(self, spec: ContainerAppSpec) -> list[dict[str, Any]]:
        """The secrets of a new app."""
        return [self._entry(each) for each in spec.secrets]

    def written(
        self, spec: ContainerAppSpec, kept: Iterable[dict[str, Any]], changes: Iterable[Change]
    ) -> list[dict[str, Any]]:
        """The whole list, which ARM replaces: those of `kept` that stay, and the document's."""
        mine = {each.name for each in spec.secrets}
        dropped = {_name(change) for change in changes if change.after is None}
        stay = [each for each in kept if each["name"] not in mine | dropped]
        return [*stay, *self.creation(spec)]

    def _entry(self, secret: AppSecret) -> dict[str, Any]:
        if secret.key_vault_url:
            place = {"keyVaultUrl": secret.key_vault_url, "identity": secret.identity}
            return {"name": secret.name, **place}
        value = self._values.get(secret.digest)
        if value is None:  # the documents were read again meanwhile, and have another value
            raise NotReadyYet(Reason.SOURCE_CHANGED, f"secret {secret.name} has changed", after=0.5)
        return {"name": secret.name, "value": value}

    async def key_hashes(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs | None
    ) -> tuple[tuple[str, str], ...]:
        """Name and SHA-256 of each API key that exists; read from Azure only when a name is not
        known yet, or its key is being replaced.
        """
        there = api_keys.names_in(found)
        last = before.api_keys if before else ()
        known = tuple((name, value) for name, value in last if name in there)
        if there <= {name for name, _ in known} and not set(known) & set(spec.rotated):
            return known
        values = await apps.list_secrets(self._arm, spec.resource_group, spec.name)
        return api_keys.hashes(values)

    async def _others(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], there: Iterable[AppSecret]
    ) -> list[AppSecret]:
        """The secrets whose value in Azure differs from the document's."""
        with_value = [each for each in there if each.digest]
        id_, at = str(found["id"]).casefold(), _written_at(found)
        now = (at, tuple(with_value))
        if not with_value or (at and self._same.get(id_) == now):
            return []
        values = await apps.list_secrets(self._arm, spec.resource_group, spec.name)
        other = [each for each in with_value if not self._is(each, values.get(each.name))]
        if not other:
            self._same[id_] = now
        return other

    def _is(self, secret: AppSecret, value: str | None) -> bool:
        wanted = self._values.get(secret.digest)
        if value is None or wanted is None:
            return False
        return hmac.compare_digest(value.encode(), wanted.encode())

    async def _unused(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs | None
    ) -> list[str]:
        """The secrets that a document gave once and that no revision or registry reads any more.
        One that is read must stay: Azure starts no replica without it.
        """
        there, mine = _entries(found), {each.name for each in spec.secrets}
        left = [n for n in (before.secrets if before else ()) if n in there and n not in mine]
        if not left:
            return []
        templates = await apps.templates_in_use(self._arm, found, apps.RETAINED)
        registries = found["properties"]["configuration"].get("registries")
        used = set(references([*templates, registries]))
        return [name for name in left if name not in used]


def names(
    spec: ContainerAppSpec, found: Mapping[str, Any], before: AppOutputs | None
) -> tuple[str, ...]:
    """The secrets in the app that came from a document, now or once."""
    given = {*(before.secrets if before else ()), *(each.name for each in spec.secrets)}
    return tuple(sorted(given & _entries(found).keys()))


def _entries(found: Mapping[str, Any]) -> Entries:
    listed = found["properties"]["configuration"].get("secrets") or ()
    return {str(each["name"]): each for each in listed}


def _new(secret: AppSecret, there: Entries) -> bool:
    return secret.name not in there


def _moved(secret: AppSecret, there: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of a secret's place in a Key Vault, if it has moved or got its first one."""
    for field, wanted in (
        ("keyVaultUrl", secret.key_vault_url),
        ("identity", secret.identity),
    ):
        actual = str(there.get(field) or "")
        if wanted and not is_same(wanted, actual, ignore_case=field == "identity"):
            yield Change(f"{_at(secret)}.{field}", actual or None, wanted)


def _written_at(found: Mapping[str, Any]) -> str:
    return str((found.get("systemData") or {}).get("lastModifiedAt") or "")


def _at(secret: AppSecret) -> str:
    return f"{_PATH}{secret.name}{_END}"


def _name(change: Change) -> str:
    return change.path.removeprefix(_PATH).partition(_END)[0]
