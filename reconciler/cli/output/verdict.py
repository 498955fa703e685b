"""What the status comes to: the verdict on everything, and the cause and remedy of what is not
well. Pure, on the JSON of `moorage status -o json`; `status_text` prints it, `web.verdict` makes
the sentence of each document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.api.conditions import Condition
from reconciler.api.decided import is_decided
from reconciler.api.reasons import Reason, read_reason
from reconciler.api.symptoms import rank
from reconciler.web.axes import ABNORMAL_WHEN_TRUE, Conditions, cause_of, remedy_of, without_remedy
from reconciler.web.verdict import (
    PLAN_WAITS,
    Answering,
    answered,
    environment_verdict,
    service_verdict,
)

Document = Mapping[str, Any]
FEW = 3  # services that each get a sentence
SUMMARY = ("Ready", "Synced", "Stalled", "Drifted")
AS_ASKED = (Reason.SCALED_TO_ZERO, Reason.SKIPPED)  # Unknown, because a document asks for it


@dataclass(frozen=True)
class Complaint:
    """One cause, the documents that it concerns, and what to do about it."""

    documents: tuple[str, ...]
    reason: str
    message: str
    remedy: str

    @property
    def passes(self) -> bool:
        """Whether it ends by itself."""
        return self.remedy == "wait"

    @property
    def is_decided(self) -> bool:
        """Whether it is what a person asked for, so that nothing has to be mended."""
        return is_decided(self.reason, self.message)


def verdict(status: Mapping[str, Any]) -> str:
    """The whole status in one or a few sentences."""
    documents = status["documents"]
    services = [each for each in documents if each["kind"] == "InferenceService"]
    if not documents:
        return "nothing has been observed yet; `moorage up` begins"
    said = [_service(each) for each in services] if len(services) <= FEW else list(_many(services))
    unwell = [
        environment_verdict(each["name"], _typed(each))
        for each in documents
        if each["kind"] != "InferenceService" and state(each, "Ready") == "False"
    ]
    text = "; ".join([*said, *unwell]) or "there is no service"
    paused = [
        f"{each['name']} (by {each['pausedBy']})" for each in documents if each.get("pausedAt")
    ]
    if paused:
        text += f"; paused: {named(paused)}, `moorage resume` ends that"
    waits = any(reason(each, "Synced") == Reason.AWAITING_APPROVAL for each in documents)
    return f"{text}{PLAN_WAITS}: `moorage approve`" if waits else text


def troubles(documents: Sequence[Document]) -> list[Complaint]:
    """What is not well, once for each cause: causes before what follows from them, and the
    rest in the order of the documents.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for document in documents:
        for condition in _bad(document):
            names = found.setdefault((condition["reason"], _message(condition)), [])
            if document["name"] not in names:
                names.append(document["name"])
    complaints = [
        Complaint(tuple(names), why, message, remedy(why))
        for (why, message), names in found.items()
    ]
    # What a person has to mend comes before what follows from it and what passes by itself.
    return sorted(complaints, key=lambda each: rank(each.reason, each.remedy))


def remedy(word: str) -> str:
    """What to do about a reason; empty where there is nothing to do or the reason is not known."""
    try:
        return remedy_of(read_reason(word))
    except ValueError:
        return ""


def condition(document: Document, type_: str) -> Mapping[str, Any]:
    """One condition; an empty one where it is not there."""
    return next((each for each in document["conditions"] if each["type"] == type_), {})


def state(document: Document, type_: str) -> str:
    return str(condition(document, type_).get("status", "Unknown"))


def reason(document: Document, type_: str) -> str:
    return str(condition(document, type_).get("reason", ""))


def is_good(one: Mapping[str, Any]) -> str:
    """`True`, `False` or `Unknown`: whether a condition says that all is well."""
    status = str(one["status"])
    if one["type"] in ABNORMAL_WHEN_TRUE:
        return {"True": "False", "False": "True"}.get(status, status)
    return status


def _many(services: Sequence[Document]) -> Iterator[str]:
    """A sentence for services too many to tell of each."""
    down = [each["name"] for each in services if state(each, "Ready") == "False"]
    unknown = [each["name"] for each in services if state(each, "Ready") == "Unknown"]
    serving = len(services) - len(down) - len(unknown)
    yield f"{serving} of {len(services)} services are ready"
    if down:
        yield f"not ready: {named(down)}"
    if unknown:
        yield f"not known: {named(unknown)}"


def named(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _service(service: Document) -> str:
    replicas = service.get("replicas", ())
    answering = Answering(
        answered(
            ((each["name"], each["digest"]) for each in service.get("adapters", ())),
            ((each["name"], each["digest"]) for one in replicas for each in one["adapters"]),
        ),
        len(replicas),
        sum(each["ready"] for each in replicas),
        any(each["serving"] and each["trafficWeight"] for each in service.get("revisions", ())),
    )
    return service_verdict(service["name"], _typed(service), answering)


def _typed(document: Document) -> Conditions:
    """The conditions as the daemon has them."""
    found = map(Condition.load, document["conditions"])
    return {each.type: each for each in found}


def _bad(document: Document) -> Iterator[Mapping[str, Any]]:
    """The conditions that say what is wrong or not known, each cause once, in the fullest words."""
    conditions = [each for each in document["conditions"] if each["type"] != "Progressing"]
    bad = [each for each in conditions if is_good(each) == "False" or _is_blind(each)]
    # What keeps it from being made says more than that it is not there.
    if any(each["reason"] != Reason.MISSING for each in bad):
        bad = [each for each in bad if each["reason"] != Reason.MISSING]
    told: list[Mapping[str, Any]] = []
    # Ready and Synced repeat what one of their parts says, and sometimes say more.
    for each in sorted(bad, key=lambda one: one["type"] in SUMMARY):
        if not any(_repeats(each, one) for one in told):
            told = [*(one for one in told if not _repeats(one, each)), each]
    return iter(told)


def _is_blind(one: Mapping[str, Any]) -> bool:
    return is_good(one) == "Unknown" and one["reason"] not in AS_ASKED


def _repeats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether `other` says all that `one` does: its message, or for the same reason what follows
    the name of the object.
    """
    if one["reason"] != other["reason"]:
        return bool(one["message"]) and one["message"] in other["message"]
    _, found, core = one["message"].partition(": ")
    return (core if found else one["message"]) in other["message"]


def _message(one: Mapping[str, Any]) -> str:
    """Without the remedy, which follows in a line of its own."""
    try:
        said = without_remedy(one["message"], read_reason(one["reason"]))
    except ValueError:
        said = one["message"]
    return said or cause_of(one["reason"])
