"""API keys of a service: secrets of its container app, one for each name in the document.
`container_app` writes them; their hashes go into the catalogue, for the gate.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.external import Change, Origin
from reconciler.kinds.service import adoption

PREFIX = "api-key-"


def new_key() -> str:
    """256 random bits, in letters that need no quoting in a shell or a header."""
    return "mk-" + secrets.token_urlsafe(32)


def names_in(found: Mapping[str, Any]) -> set[str]:
    """The keys that the app has, by name."""
    listed = found["properties"]["configuration"].get("secrets") or []
    return {
        str(each["name"]).removeprefix(PREFIX)
        for each in listed
        if str(each["name"]).startswith(PREFIX)
    }


def changes(spec: ContainerAppSpec, found: Mapping[str, Any], origin: Origin) -> tuple[Change, ...]:
    """The keys that are missing, and those that the document no longer names."""
    there, wanted = names_in(found), set(spec.key_names)
    if origin is not Origin.OURS:
        there &= wanted  # another secret with such a name may be somebody else's
    path = "configuration.secrets[" + PREFIX + "{}]"
    missing = [
        Change(path.format(name), None, "(secret)", "hot") for name in sorted(wanted - there)
    ]
    return (
        *missing,
        *(Change(path.format(name), "(secret)", None, "hot") for name in sorted(there - wanted)),
    )


def rotations(spec: ContainerAppSpec, keys: tuple[tuple[str, str], ...]) -> tuple[Change, ...]:
    """The keys that a person wants replaced and that still have the old value."""
    path = "configuration.secrets[" + PREFIX + "{}]"
    return tuple(
        Change(path.format(name), "(secret)", "(new secret)", "hot")
        for name, value in keys
        if (name, value) in spec.rotated and name in spec.key_names
    )


def written(
    spec: ContainerAppSpec, found: Mapping[str, Any], origin: Origin, values: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The list of secrets, which ARM replaces whole: those read back, and keys for all names of the
    document. From an adopted app no secret is dropped, even if its name looks like a key's: its
    revisions may refer to it.
    """
    wanted = [PREFIX + name for name in spec.key_names]
    dropped = [PREFIX + name for name in names_in(found)] if origin is Origin.OURS else []
    kept = [
        adoption.secret(entry, values)
        for entry in found["properties"]["configuration"].get("secrets") or []
        if entry["name"] not in (*dropped, *wanted)
    ]
    # A rotated key must not come back by being read from the app.
    refused = {
        PREFIX + name
        for name, value in hashes({each: values[each] for each in wanted if each in values})
        if (name, value) in spec.rotated
    }
    usable = {name: value for name, value in values.items() if name not in refused}
    return [*kept, *({"name": name, "value": usable.get(name) or new_key()} for name in wanted)]


def hashes(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of each API key among the app's secret `values`."""
    return tuple(
        (name.removeprefix(PREFIX), hashlib.sha256(value.encode()).hexdigest())
        for name, value in values.items()
        if name.startswith(PREFIX)
    )
