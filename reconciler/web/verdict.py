"""What a document comes to in one sentence, the same on the page and in `moorage status`. Pure,
from its conditions and from what answers; `service_view` and `cli.verdict` call it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reconciler.api.conditions import ConditionType
from reconciler.api.outputs import AppOutputs, CatalogueOutputs
from reconciler.api.reasons import Reason
from reconciler.web.axes import (
    Axis,
    Conditions,
    explaining_reason,
    health_of,
    is_true,
    split_lines,
    sync_of,
)
from reconciler.web.azure_words import plain

SHORT = 4  # hexadecimal digits of a digest in a sentence
FEW = 3  # adapters that are named one by one
_ID = re.compile(
    r"'?/subscriptions/[\w-]+/resourceGroups/([\w.()-]+)(?:/providers/[\w.]+((?:/[\w.-]+)+))?'?",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\S{1,200}:\d{1,7}: ")  # the file and the line of a document
_TELLING = {Reason.IMAGE_NOT_FOUND, Reason.REGISTRY_DENIED}
AS_BEFORE = ", but not as its document says"
PLAN_WAITS = "; a plan waits for you"


class Answering(NamedTuple):
    """What answers for a service: its adapters as name and digest, how many replicas run, how many
    of them are ready, and whether a revision with traffic serves.
    """

    adapters: Sequence[tuple[str, str | None]] = ()
    replicas: int = 0
    ready: int = 0
    serves: bool = False


def answered(
    asked: Iterable[tuple[str, str]], said: Iterable[tuple[str, str | None]]
) -> list[tuple[str, str | None]]:
    """The adapters under whose names something answers, each with the version that does. `asked`
    are those of the catalogue, and `said` what each replica reports: a name and a digest, None
    where no version answers. Of an adapter that no replica has reported, the version asked for.
    """
    reports = list(said)
    found: list[tuple[str, str | None]] = []
    for name, digest in asked:
        told = [one for other, one in reports if other == name]
        answer = [one for one in told if one]
        as_asked = any(one.startswith(digest) or digest.startswith(one) for one in answer)
        if not told or as_asked:
            found.append((name, digest))
        elif answer:
            found.append((name, answer[0]))
    return found


def answering_adapters(
    catalogue: CatalogueOutputs | None, app: AppOutputs
) -> list[tuple[str, str | None]]:
    """`answered` of a service as it was last seen."""
    return answered(
        ((each.name, each.digest) for each in (catalogue.adapters if catalogue else ())),
        ((each.name, each.digest) for one in app.replicas for each in one.adapters),
    )


def service_verdict(
    name: str, conditions: Conditions, answering: Answering, *, why: bool = False
) -> str:
    """A sentence without its full stop; with `why` also the cause of what is not well, for a place
    where it does not follow anyway.
    """
    sync, health = sync_of(conditions), health_of(conditions)
    because = _because(health) if why else ""
    said = f"{name} {_serving(conditions, health, answering, because)}"
    # What keeps it from serving also keeps it out of sync, and is said once.
    if sync.reason == health.reason or AS_BEFORE in said:
        return said
    return f"{said}{_beside(sync, health, why=why)}"


def environment_verdict(name: str, conditions: Conditions, *, why: bool = False) -> str:
    """A sentence without its full stop."""
    sync, health = sync_of(conditions), health_of(conditions)
    if health.word in ("Healthy", "Asleep"):
        return f"Environment {name} is in place{_beside(sync, health, why=why)}"
    return f"Environment {name} is not in place{_because(health) if why else ''}"


def _serving(conditions: Conditions, health: Axis, answering: Answering, because: str) -> str:
    what = _models(answering.adapters)
    count = answering.replicas
    on = f"{answering.ready} of {count} replica{'' if count == 1 else 's'}"
    match health.word:
        case "Healthy" if count:
            return f"serves{what} on {on}"
        case "Healthy" | "Asleep":
            return f"is ready{what and f' to serve{what}'}; no replica runs, a request starts one"
        case "Leaving":
            return "is being deleted"
        case "Unknown" if health.message:
            return f"may or may not serve{because}"
        case "Unknown" | "Not seen yet":
            return "has not been looked at yet"
    if answering.serves and answering.ready:
        return f"serves{what} on {on}{AS_BEFORE}{because}"
    if is_true(conditions, ConditionType.STALLED):
        return f"does not serve, and waits for you{because}"
    if health.word == "Starting":
        return f"does not serve yet{because or '; it is on its way'}"
    return f"does not serve{because}"


def _models(adapters: Sequence[tuple[str, str | None]]) -> str:
    """` support@3f9c`, ` 12 adapters` or nothing."""
    if len(adapters) > FEW:
        return f" {len(adapters)} adapters"
    names = [f"{name}@{(digest or '?')[:SHORT]}" for name, digest in adapters]
    return f" {', '.join(names)}" if names else ""


def _beside(sync: Axis, health: Axis, *, why: bool) -> str:
    """What is to be added of the document."""
    if sync.reason == Reason.ROLLED_BACK:
        return f", rolled back{_because(sync) if why else ''}"
    if sync.reason in (Reason.ADAPTER_FAILED, Reason.ADAPTER_NOT_SERVED):
        return f"; not all adapters are as the document says{_because(sync) if why else ''}"
    return {
        "Held": "; the document asks for another version, which is held",
        "Syncing": "; a change is on its way" if health.word != "Starting" else "",
        "Out of sync": f"; the document is not applied{_because(sync) if why else ''}",
    }.get(sync.word, "")


def _because(axis: Axis) -> str:
    message, _ = split_lines(axis.message)
    first = shorten_ids(message.split("; ")[0].split(". ")[0].rstrip("."))
    told = explaining_reason(axis.reason, message)
    # Azure's first sentence often says only that something failed; a reason of ours says what.
    if told in _TELLING or (not first and told in set(Reason)):
        place = _PLACE.match(message)
        first = (place[0] if place else "") + Reason(told).cause.split("; ")[0]
    return f": {first}" if first else ""


def shorten_ids(text: str) -> str:
    """The text with ARM ids as people name resources, and refusals without Azure's wrapping."""
    return _ID.sub(_short, plain(text))


def _short(found: re.Match[str]) -> str:
    """An ARM id as people name the resource: its type and name, or its group."""
    group, path = found.groups()
    return "/".join(path.split("/")[-2:]) if path else f"resource group {group}"
