"""The values that a document needs for a resource to stay as ARM shows it: one function for each
field of `inverse`. Pure. None means that the field is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api import tags as our_tags
from reconciler.api.engine_flags import owner_of
from reconciler.api.openings import OPENINGS
from reconciler.composition import template

Body = Mapping[str, Any]
_SHELL = re.compile(r'cd (?P<folder>\S+) && exec "\$@"')
_OWN_VARIABLES = ("MOORAGE_", "CONTAINER_APP_")


class CannotSayError(Exception):
    """No document expands to what was found; the message says what is missing."""


def at(body: Any, *steps: str) -> Any:
    """The value at the path; None if there is none."""
    for step in steps:
        body = body.get(step) if isinstance(body, Mapping) else None
    return body


def entries(value: Any) -> list[Body]:
    """The entries of a list that say anything; what is no mapping is left out."""
    listed = value if isinstance(value, list | tuple) else ()
    return [each for each in listed if isinstance(each, Mapping) and each]


def texts(value: Any) -> list[str]:
    """A command line."""
    listed = value if isinstance(value, list | tuple) else ()
    return [str(word) for word in listed]


def container(body: Body) -> Body:
    """The container of the service: ours by its name, else the first."""
    listed = entries(at(body, "properties", "template", "containers")) or [{}]
    ours = (each for each in listed if each.get("name") in ("vllm", "app"))
    chosen: Body = next(ours, listed[0])
    return chosen


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise CannotSayError(f"{value!r} is no number") from None


def _scale(body: Body, name: str, default: int) -> int:
    value = at(body, "properties", "template", "scale", name)
    return default if value is None else _number(value)


def min_replicas(body: Body) -> int:
    return _scale(body, "minReplicas", 0)


def max_replicas(body: Body) -> int:
    return _scale(body, "maxReplicas", 10)


def cooldown(body: Body) -> int | None:
    """The cooldown; None in the template of a revision, which does not have it."""
    value = at(body, "properties", "template", "scale", "cooldownPeriod")
    return None if value is None else _number(value)


def _rules(body: Body) -> Sequence[Body]:
    return entries(at(body, "properties", "template", "scale", "rules"))


def concurrency(body: Body) -> int:
    for rule in _rules(body):
        asked = at(rule, "http", "metadata", "concurrentRequests")
        if rule.get("name") == "http" and str(asked).isdigit():
            return int(asked)
    raise CannotSayError("a service scales by its requests; there is no such rule any more")


def schedules(body: Body) -> list[dict[str, Any]] | None:
    """KEDA's cron rules that a document can say, in the order of their numbers."""
    numbered = [rule for rule in _rules(body) if str(rule.get("name")).startswith("schedule-")]
    numbered.sort(key=lambda rule: (len(str(rule["name"])), str(rule["name"])))
    said = [_schedule(rule) for rule in numbered]
    return said or None


def _schedule(rule: Body) -> dict[str, Any]:
    given = at(rule, "custom", "metadata") or {}
    if at(rule, "custom", "type") != "cron" or not str(given.get("desiredReplicas")).isdigit():
        raise CannotSayError(f"the rule {rule.get('name')} is no schedule")
    schedule = {"start": given.get("start"), "end": given.get("end")}
    minimum, zone = int(given["desiredReplicas"]), given.get("timezone")
    return {
        **schedule,
        **({"minReplicas": minimum} if minimum != 1 else {}),
        **({"timezone": zone} if zone not in (None, "UTC") else {}),
    }


def image(body: Body) -> Any:
    return container(body).get("image")


def cpu(body: Body) -> float | int | None:
    value = at(container(body), "resources", "cpu")
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise CannotSayError(f"{value!r} is no number of cores") from None
    return int(number) if number.is_integer() else number


def memory(body: Body) -> Any:
    return at(container(body), "resources", "memory")


def progress_deadline(body: Body) -> int | None:
    """What the startup probe of a web API allows; None where it is the default. A document may
    have said a few seconds less, and comes to the same probe.
    """
    probes = entries(container(body).get("probes"))
    startup = next((each for each in probes if each.get("type") == "Startup"), {})
    period, failures = startup.get("periodSeconds"), startup.get("failureThreshold")
    if period is None or failures is None:
        raise CannotSayError("a service with code has a startup probe; there is none any more")
    deadline = _number(period) * _number(failures)
    if deadline < 1 or template.startup_budget(deadline) != (period, failures):
        raise CannotSayError(
            f"spec.progressDeadlineSeconds comes to other numbers than {failures} failures, one in"
            f" {period} s"
        )
    return None if deadline == template.STARTUP_SECONDS else deadline


def readers(body: Body) -> int | None:
    """None where vLLM starts with as many as usual."""
    value = _variable(body, "MOORAGE_READERS")
    return None if value is None else _number(value)


def compile_cache(body: Body) -> bool | None:
    """None where what vLLM compiles is kept."""
    return False if _variable(body, "MOORAGE_COMPILE_CACHE") == "off" else None


def _variable(body: Body, name: str) -> Any:
    listed = entries(container(body).get("env"))
    return next((each.get("value") for each in listed if each.get("name") == name), None)


def variables(body: Body) -> list[dict[str, Any]]:
    """The variables that a document may set."""
    found = []
    for each in entries(container(body).get("env")):
        name = str(each.get("name"))
        if name.startswith(_OWN_VARIABLES) or name == "PYTHONPATH":
            continue
        if secret := each.get("secretRef"):
            found.append({"name": name, "valueFrom": {"secretRef": str(secret)}})
        else:
            found.append({"name": name, "value": str(each.get("value") or "")})
    return found


def identity(body: Body) -> dict[str, Any] | None:
    """The managed identities; None where there are none."""
    kind = str(at(body, "identity", "type") or "None").replace(" ", "")
    users = at(body, "identity", "userAssignedIdentities")
    named: dict[str, Any] = (
        {"userAssignedIdentities": {str(id_): {} for id_ in users}} if users else {}
    )
    return {"type": kind, **named} if kind != "None" else None


def registries(body: Body) -> list[dict[str, Any]] | None:
    """How Azure signs in at each registry; None where there is none."""
    fields = ("server", "username", "passwordSecretRef", "identity")
    return [
        {name: each[name] for name in fields if each.get(name)}
        for each in entries(at(body, "properties", "configuration", "registries"))
    ] or None


def flags(body: Body) -> dict[str, Any]:
    """The flags of vLLM as `engine.args` has them, without those that Moorage sets."""
    given: dict[str, list[str]] = {}
    values: list[str] = []
    for word in texts(container(body).get("args")):
        if word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            values = given.setdefault(name, [])
            values += [value] if has_value else []
        else:
            values.append(word)
    said: dict[str, Any] = {}
    for name, words in given.items():
        if owner_of(name):
            continue
        if not words:
            said[name.removeprefix("no-")] = not name.startswith("no-")
        else:
            said[name] = _typed(words[0]) if len(words) == 1 else [_typed(w) for w in words]
    return said


def allowed(body: Body) -> list[str] | None:
    """The flags that open something: without these words a document with them is refused."""
    given = {name.partition(".")[0] for name, value in flags(body).items() if value is not False}
    return [name for name in OPENINGS if name in given] or None


def _typed(text: str) -> str | int | float:
    """A number if its text is the same as the given one; otherwise the text."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if str(number) == text else text
    return text


def args(body: Body) -> list[str] | None:
    return texts(container(body).get("args")) or None


def command(body: Body) -> list[str]:
    """The command that runs in the code's folder, without the shell that changes into it."""
    whole = texts(container(body).get("command"))
    shell = _SHELL.fullmatch(whole[2]) if len(whole) > 4 else None
    if whole[:2] != ["/bin/sh", "-c"] or shell is None:
        raise CannotSayError(
            "a command of spec.command runs in the code's folder, by a shell that steps into it"
        )
    return whole[4:]


def _ingress(body: Body) -> Body:
    found = at(body, "properties", "configuration", "ingress")
    return found if isinstance(found, Mapping) else {}


def target_port(body: Body) -> int:
    port = _ingress(body).get("targetPort")
    if not port:
        raise CannotSayError("a service has a port; there is none any more")
    return _number(port)


def external(body: Body) -> bool:
    if not _ingress(body):
        raise CannotSayError("a service has an ingress; there is none any more")
    return bool(_ingress(body).get("external"))


def profile_name(body: Body) -> str:
    return str(at(body, "properties", "workloadProfileName") or "Consumption")


def grace(body: Body) -> int:
    value = at(body, "properties", "template", "terminationGracePeriodSeconds")
    return 30 if value is None else _number(value)


def profiles(body: Body) -> list[dict[str, Any]]:
    fields = ("name", "workloadProfileType", "minimumCount", "maximumCount")
    return [
        {name: each[name] for name in fields if each.get(name) is not None}
        for each in entries(at(body, "properties", "workloadProfiles"))
        if str(each.get("name")).lower() != "consumption"
    ]


def tags(body: Body) -> dict[str, str]:
    """The tags of the document, without Moorage's own."""
    return {
        name: str(value)
        for name, value in (body.get("tags") or {}).items()
        if not name.lower().startswith(our_tags.PREFIX)
    }
