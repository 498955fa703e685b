"""Comparing two answers field by field: present, of the same JSON type, of the same value where the
value means something.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Made by the server, or saying who called, when, and with which build of it: only presence, type
# and emptiness are compared.
_MADE = {
    *(
        "createdBy",
        "createdByType",
        "lastModifiedBy",
        "lastModifiedByType",
        "principalId",
        "tenantId",
        "clientId",
    ),
    *(
        "customerId",
        "etag",
        "eTag",
        "fqdn",
        "latestRevisionFqdn",
        "defaultDomain",
        "staticIp",
        "eventStreamEndpoint",
    ),
    *(
        "logStreamEndpoint",
        "execEndpoint",
        "customDomainVerificationId",
        "containerId",
        "token",
        "message",
        "version",
    ),
    *(
        "outboundIpAddresses",
        "sharedKey",
        "primarySharedKey",
        "secondarySharedKey",
        "quotaNextResetTime",
        "runningStateDetails",
    ),
    *("deploymentErrors", "provisioningError", "nextLink", "startTime", "endTime"),
    *("latestReadyRevisionName", "infrastructureResourceGroup", "debugEndpoint"),
}
_ON_THE_WAY = {"Activating", "Deprovisioning", "Processing", "Provisioning", "NotRunning"}
_STATE = {
    *(
        "active",
        "replicas",
        "healthState",
        "provisioningState",
        "runningState",
        "runningStateDetails",
        "provisioningError",
    ),
    *("lastActiveTime", "trafficWeight", "ready", "started", "containerId", "restartCount"),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d|[A-Z][a-z]{2}, \d\d? [A-Z][a-z]{2} \d{4}")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FAKED = re.compile(r"REDACTED|veryFaked|sanitized", re.IGNORECASE)


@dataclass(frozen=True)
class Field:
    """One field path of an answer; `wrong` says what is wrong with it, empty when nothing is."""

    path: str
    wrong: str = ""


def compare(recorded: Any, local: Any, path: str = "", key: str = "") -> Iterator[Field]:
    """Every leaf of both; an object or a list without content is a leaf."""
    if isinstance(recorded, dict) and isinstance(local, dict) and (recorded or local):
        for name in recorded.keys() | local.keys():
            below = f"{path}.{name}".lstrip(".")
            if name == "_truncatedFrom":
                continue
            if name not in local:
                yield from (Field(leaf, "missing") for leaf in leaves(recorded[name], below))
            elif name not in recorded:
                yield from (
                    Field(leaf, "not in the recording") for leaf in leaves(local[name], below)
                )
            else:
                yield from compare(recorded[name], local[name], below, name)
    elif (
        isinstance(recorded, list)
        and isinstance(local, list)
        and (recorded or local)
        and key not in _MADE
    ):
        yield from _lists(recorded, local, path)
    elif kind(recorded) != kind(local):
        yield from (
            Field(leaf, f"is {_short(local)}, was another type") for leaf in leaves(recorded, path)
        )
    elif (
        isinstance(recorded, list)
        or recorded == local
        or (bool(recorded) == bool(local) and is_made(key, recorded, local))
    ):
        yield Field(path)
    else:
        yield Field(path, f"is {_short(local)}, was {_short(recorded)}")


def moved_on(recorded: Any, local: Any) -> tuple[Any, Any]:
    """Both without what a revision or replica says of its state, where the recording caught it on
    its way and it has arrived here.
    """
    if isinstance(recorded, dict) and isinstance(local, dict):
        if _state(recorded) in _ON_THE_WAY and _state(local) not in {None, _state(recorded)}:
            return _still(recorded), _still(local)
        if "value" in recorded and "value" in local:
            one, other = moved_on(recorded["value"], local["value"])
            return {**recorded, "value": one}, {**local, "value": other}
    if isinstance(recorded, list) and isinstance(local, list):
        pairs = [
            moved_on(one, other)
            for one, other in pair(recorded, local)
            if other is not None or _state(one) != "NotRunning"
        ]
        return [one for one, _ in pairs if one is not None], [
            other for _, other in pairs if other is not None
        ]
    return recorded, local


def _state(document: Any) -> Any:
    properties = document.get("properties") if isinstance(document, dict) else None
    return properties.get("runningState") if isinstance(properties, dict) else None


def _still(document: dict[str, Any]) -> dict[str, Any]:
    properties = {key: value for key, value in document["properties"].items() if key not in _STATE}
    if "containers" in properties:
        properties["containers"] = [
            {key: value for key, value in entry.items() if key not in _STATE}
            for entry in properties["containers"]
        ]
    return {**document, "properties": properties}


def leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list) and value and path.rsplit(".", 1)[-1] not in _MADE:
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path


def pair(recorded: list[Any], local: list[Any]) -> list[tuple[Any, Any]]:
    """Elements that stand for the same thing, first by name, then by position; None where the other
    side has none.
    """
    if not all(isinstance(entry, dict) for entry in (*recorded, *local)):
        shorter = max(len(recorded), len(local))
        return list(
            zip(
                recorded + [None] * (shorter - len(recorded)),
                local + [None] * (shorter - len(local)),
                strict=True,
            )
        )
    rest, pairs, late = list(local), [], []
    for entry in sorted(recorded, key=lambda entry: _state(entry) == "NotRunning"):
        found = next(
            (
                other
                for other in rest
                if name_of(entry) is not None and name_of(other) == name_of(entry)
            ),
            None,
        )
        if found is None:
            late.append(entry)
        else:
            rest.remove(found)
            pairs.append((entry, found))
    pairs += [(entry, rest.pop(0) if rest else None) for entry in late]
    return pairs + [(None, entry) for entry in rest]


def name_of(entry: Any) -> Any:
    """What tells the elements of a list apart; None where their order does."""
    named = entry.get("name") if isinstance(entry, dict) else None
    if isinstance(named, dict):
        named = named.get("value")
    return named.lower() if isinstance(named, str) else None


def is_made(key: str, recorded: Any, local: Any) -> bool:
    """Whether a value is an id, a time, a key or a generated name."""
    if key in _MADE:
        return True
    texts = [text for text in (recorded, local) if isinstance(text, str)]
    return len(texts) == 2 and (
        all(_TIME.match(text) for text in texts)
        or any(_FAKED.search(text) for text in texts)
        or all(_GUID.search(text) for text in texts)
        or all(text.startswith(("https://", "wss://")) for text in texts)
    )


def kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(type(value).__name__)
    return "number" if isinstance(value, int | float) else type(value).__name__


def _lists(recorded: list[Any], local: list[Any], path: str) -> Iterator[Field]:
    for left, right in pair(recorded, local):
        if right is None:
            yield from (Field(leaf, "missing") for leaf in leaves(left, f"{path}[]"))
        elif left is None:
            yield from (Field(leaf, "not in the recording") for leaf in leaves(right, f"{path}[]"))
        else:
            yield from compare(left, right, f"{path}[]")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 120 else text[:117] + "..."
