"""What the status comes to: one sentence for each service, and the cause and remedy of what is not
well. Pure, on the JSON of `moorage status -o json`; `status_text` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
SHORT = 4  # hexadecimal digits of a digest in a sentence
FEW = 3  # services that each get a sentence
ABNORMAL_WHEN_TRUE = ("Stalled", "Drifted")
SUMMARY = ("Ready", "Synced", "Stalled", "Drifted")


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


def verdict(status: Mapping[str, Any]) -> str:
    """The whole status in one or a few sentences."""
    documents = status["documents"]
    services = [each for each in documents if each["kind"] == "InferenceService"]
    if not documents:
        return "nothing has been observed yet; `moorage up` begins"
    said = _each(services) if len(services) <= FEW else _many(services)
    unwell = [
        f"environment {each['name']} is not ready"
        for each in documents
        if each["kind"] != "InferenceService" and state(each, "Ready") == "False"
    ]
    text = "; ".join([*said, *unwell]) or "there is no service"
    paused = [each["name"] for each in documents if each.get("pausedAt")]
    if paused:
        text += f"; paused: {_names(paused)}, `moorage resume` ends that"
    waits = any(reason(each, "Synced") == "AwaitingApproval" for each in documents)
    return f"{text}; a plan waits for you: `moorage approve`" if waits else text


def troubles(documents: Sequence[Document]) -> list[Complaint]:
    """What is not well, once for each cause, in the order of the documents."""
    found: dict[tuple[str, str], list[str]] = {}
    for document in documents:
        for condition in _bad(document):
            names = found.setdefault((condition["reason"], condition["message"]), [])
            if document["name"] not in names:
                names.append(document["name"])
    return [
        Complaint(tuple(names), why, message, remedy(why))
        for (why, message), names in found.items()
    ]


def remedy(word: str) -> str:
    """What to do about a reason; empty where there is nothing to do or the reason is not known."""
    from reconciler.api.reasons import AZURE, Reason

    if word.startswith(AZURE):
        from reconciler.arm.errors import explain_code

        told = explain_code(word.removeprefix(AZURE))
        return (told[1] or "") if told else ""
    known = {str(each): each for each in Reason}
    return known[word].remedy if word in known else ""


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


def _each(services: Sequence[Document]) -> Iterator[str]:
    for service in services:
        yield f"{service['name']} {_service(service)}"


def _many(services: Sequence[Document]) -> Iterator[str]:
    """A sentence for services too many to tell of each."""
    down = [each["name"] for each in services if state(each, "Ready") == "False"]
    unknown = [each["name"] for each in services if state(each, "Ready") == "Unknown"]
    serving = len(services) - len(down) - len(unknown)
    yield f"{serving} of {len(services)} services are ready"
    if down:
        yield f"not ready: {_names(down)}"
    if unknown:
        yield f"not known: {_names(unknown)}"


def _names(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _service(service: Document) -> str:
    replicas = service.get("replicas", ())
    ready = sum(each["ready"] for each in replicas)
    on = f"{ready} of {len(replicas)} replica{'' if len(replicas) == 1 else 's'}"
    what = _models(service)
    serving = any(
        each["serving"] and each["trafficWeight"] for each in service.get("revisions", ())
    )
    match state(service, "Ready"):
        case "True" if reason(service, "Ready") == "ScaledToZero" or not replicas:
            return f"is ready{what and f' to serve{what}'}; no replica runs, a request starts one"
        case "True":
            return f"serves{what} on {on}{_change(service)}"
        case "False" if serving and ready:
            return f"serves{what} on {on}, but not as its document says"
        case "False" if state(service, "Stalled") == "True":
            return "does not serve, and waits for you"
        case "False" if state(service, "Progressing") == "True":
            return "does not serve yet; it is on its way"
        case "False":
            return "does not serve"
        case _:
            return "has not been looked at yet"


def _change(service: Document) -> str:
    """What is under way or stands beside the document of a service that serves."""
    if reason(service, "Synced") == "RolledBack":
        return ", rolled back"
    if state(service, "Progressing") == "True":
        return "; a change is on its way"
    return ""


def _models(service: Document) -> str:
    """` support@3f9c`, ` 12 adapters` or nothing."""
    adapters = service.get("adapters", ())
    if len(adapters) > FEW:
        return f" {len(adapters)} adapters"
    names = [f"{each['name']}@{(each['digest'] or '?')[:SHORT]}" for each in adapters]
    return f" {', '.join(names)}" if names else ""


def _bad(document: Document) -> Iterator[Mapping[str, Any]]:
    """The conditions that say what is wrong: the parts where there are any, else the summary."""
    conditions = [each for each in document["conditions"] if each["type"] != "Progressing"]
    bad = [each for each in conditions if is_good(each) == "False" and each["message"]]
    seen: set[str] = set()
    for each in sorted(bad, key=lambda one: one["type"] in SUMMARY):
        # Ready and Synced repeat what one of their parts says
        if not any(each["message"] in told or told in each["message"] for told in seen):
            seen.add(each["message"])
            yield each
