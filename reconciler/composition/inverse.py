"""The composition backwards: which field of a document decides a field of a resource, and which
value it needs for the resource to stay as found. Pure; `accept` and `import azure` read this table.

A new field of a document is one line of FIELDS. `read` takes the resource as ARM shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from reconciler.api.engine_flags import owner_of
from reconciler.api.kinds import Kind
from reconciler.api.tags import OURS, PREFIX
from reconciler.api.yaml_edit import LEFT_OUT, Steps
from reconciler.composition import found_values as found
from reconciler.composition.found_values import Body, CannotSayError

_APP, _CONTAINER = "properties.template", "properties.template.containers[*]"
_INGRESS = "properties.configuration.ingress"
_TAGGED = (Kind.RESOURCE_GROUP, Kind.WORKSPACE, Kind.STORAGE_ACCOUNT, Kind.ENVIRONMENT)
MODEL, CODE = "model", "code"


@dataclass(frozen=True)
class Field:
    """One field of a document and the paths below `arm` that it decides; `*` in `arm` matches a
    name. `of` says which services have it, `entries` that each entry can be accepted alone.
    """

    kind: Kind
    arm: str
    path: Steps
    read: Callable[[Body], Any]
    of: str = ""
    entries: bool = False


def _field(kind: Kind, arm: str, path: str, read: Callable[[Body], Any], **more: Any) -> Field:
    return Field(kind, arm, ("spec", *path.split(".")), read, **more)


FIELDS: tuple[Field, ...] = (
    _field(Kind.APP, f"{_APP}.scale.minReplicas", "scale.minReplicas", found.min_replicas),
    _field(Kind.APP, f"{_APP}.scale.maxReplicas", "scale.maxReplicas", found.max_replicas),
    _field(Kind.APP, f"{_APP}.scale.cooldownPeriod", "scale.cooldownPeriod", found.cooldown),
    _field(Kind.APP, f"{_APP}.scale.rules[http]", "scale.concurrentRequests", found.concurrency),
    _field(Kind.APP, f"{_APP}.scale.rules[schedule-*]", "scale.schedules", found.schedules),
    _field(Kind.APP, f"{_CONTAINER}.image", "engine.image", found.image),
    _field(Kind.APP, f"{_CONTAINER}.resources.cpu", "resources.cpu", found.cpu),
    _field(Kind.APP, f"{_CONTAINER}.resources.memory", "resources.memory", found.memory),
    _field(
        Kind.APP, f"{_CONTAINER}.env[MOORAGE_READERS]", "engine.readers", found.readers, of=MODEL
    ),
    _field(
        Kind.APP,
        f"{_CONTAINER}.env[MOORAGE_COMPILE_CACHE]",
        "engine.compileCache",
        found.compile_cache,
        of=MODEL,
    ),
    _field(Kind.APP, f"{_CONTAINER}.env", "env", found.variables, entries=True),
    _field(Kind.APP, f"{_CONTAINER}.args", "engine.args", found.flags, of=MODEL, entries=True),
    # Only read: a person who accepts such a flag must also write `engine.allow`.
    _field(Kind.APP, f"{_CONTAINER}.args", "engine.allow", found.allowed, of=MODEL),
    *(
        _field(
            Kind.APP,
            f"{_CONTAINER}.probes[Startup].{name}",
            "progressDeadlineSeconds",
            found.progress_deadline,
            of=CODE,
        )
        for name in ("periodSeconds", "failureThreshold")
    ),
    _field(Kind.APP, f"{_CONTAINER}.args", "args", found.args, of=CODE),
    _field(Kind.APP, f"{_CONTAINER}.command", "command", found.command, of=CODE),
    _field(Kind.APP, f"{_INGRESS}.targetPort", "targetPort", found.target_port, of=CODE),
    _field(Kind.APP, f"{_INGRESS}.external", "ingress.external", found.external),
    _field(Kind.APP, "identity", "identity", found.identity),
    _field(Kind.APP, "properties.configuration.registries", "registries", found.registries),
    _field(Kind.APP, "properties.workloadProfileName", "workloadProfileName", found.profile_name),
    _field(
        Kind.APP,
        f"{_APP}.terminationGracePeriodSeconds",
        "terminationGracePeriodSeconds",
        found.grace,
    ),
    _field(
        Kind.WORKSPACE,
        "properties.retentionInDays",
        "logAnalytics.retentionInDays",
        lambda body: found.at(body, "properties", "retentionInDays"),
    ),
    _field(Kind.STORAGE_ACCOUNT, "sku.name", "storage.sku", lambda b: found.at(b, "sku", "name")),
    _field(
        Kind.SHARE,
        "properties.shareQuota",
        "storage.quotaGiB",
        lambda body: found.at(body, "properties", "shareQuota"),
    ),
    _field(
        Kind.ENVIRONMENT,
        "properties.workloadProfiles",
        "workloadProfiles",
        found.profiles,
        entries=True,
    ),
    *(_field(kind, "tags", "tags", found.tags, entries=True) for kind in _TAGGED),
)

# Paths that no field decides directly, and what they follow from.
_RUNS_VLLM = "spec.model: Moorage starts vLLM itself"
_ROLLOUT = "spec.rollout, `moorage promote` and `moorage rollback`"
_FOLLOWS: tuple[tuple[Kind, str, str, str], ...] = (
    (Kind.APP, f"{_CONTAINER}.command", MODEL, _RUNS_VLLM),
    (Kind.APP, f"{_CONTAINER}.volumeMounts", MODEL, _RUNS_VLLM),
    (Kind.APP, f"{_APP}.volumes", MODEL, _RUNS_VLLM),
    (Kind.APP, f"{_CONTAINER}.probes", MODEL, "the size of spec.model"),
    (Kind.APP, f"{_INGRESS}.targetPort", MODEL, _RUNS_VLLM),
    (Kind.APP, f"{_CONTAINER}.volumeMounts", CODE, "spec.code, spec.mountPath and spec.mounts"),
    (Kind.APP, f"{_APP}.volumes", CODE, "spec.code and spec.mounts"),
    (Kind.APP, f"{_CONTAINER}.probes", CODE, "spec.targetPort and spec.progressDeadlineSeconds"),
    (Kind.APP, f"{_APP}.revisionSuffix", "", "what the revision holds"),
    (Kind.APP, f"{_INGRESS}.traffic", "", _ROLLOUT),
    (Kind.APP, "revisions[*]", "", _ROLLOUT),
    (Kind.APP, "properties.configuration.activeRevisionsMode", "", _ROLLOUT),
    (
        Kind.APP,
        "properties.configuration.secrets",
        "",
        "spec.secrets, and spec.auth.apiKeys with `moorage key`",
    ),
    (Kind.ENVIRONMENT, "properties.appLogsConfiguration", "", "spec.logAnalytics"),
)


class NoFieldError(Exception):
    """A path that cannot be accepted; the message says why, and which field decides it."""


def service_kind(document: Mapping[str, Any]) -> str:
    """`model` or `code`, for a document as it is written; empty for an Environment."""
    spec = document.get("spec") or {}
    return MODEL if spec.get("model") else CODE if spec.get("code") else ""


def field_of(kind: Kind, path: str, of: str) -> Field:
    """The field that decides `path` of a resource of `kind`.

    Raises:
        NoFieldError: there is none.
    """
    for field in FIELDS:
        if field.kind == kind and field.of in ("", of) and _below(path, field.arm):
            return field
    for about, arm, service, why in _FOLLOWS:
        if about == kind and service in ("", of) and _below(path, arm):
            raise NoFieldError(f"it follows from {why}")
    raise NoFieldError("no field of a document says it; Moorage always sets it so")


def accepted(field: Field, path: str, body: Body, document: Mapping[str, Any]) -> tuple[Steps, Any]:
    """The place and the value in the document with which `path` stays as it is in `body`.

    Raises:
        NoFieldError: no field can hold the value.
    """
    try:
        value = field.read(body)
    except CannotSayError as error:
        raise NoFieldError(str(error)) from None
    entry = _entry(path, field.arm) if field.entries else None
    if entry is None:
        return field.path, LEFT_OUT if value is None else value
    if isinstance(value, Mapping):
        return _named(field, entry, value)
    now = found.at(document, *field.path)
    _refuse_entry(field, entry)
    return field.path, value if now is None else _merged(now, value, entry)


def decompose(kind: Kind, body: Body, of: str = "") -> dict[Steps, Any]:
    """The value of every field for this resource, by its path; fields that cannot hold what was
    found are left out.
    """
    values: dict[Steps, Any] = {}
    for field in FIELDS:
        if field.kind == kind and field.of in ("", of):
            try:
                value = field.read(body)
            except CannotSayError:
                continue
            if value is not None:
                values[field.path] = value
    return values


def _named(field: Field, entry: str, values: Mapping[str, Any]) -> tuple[Steps, Any]:
    """One tag or one of vLLM's flags."""
    name = entry.removeprefix("--")
    if field.path[-1] == "args":
        if owned := owner_of(name):
            raise NoFieldError(f"{owned[0]}; {owned[1]}")
        name = name.removeprefix("no-")
    elif name.lower() in OURS or name.lower().startswith(PREFIX):
        raise NoFieldError("the tag says whose the resource is")
    known = {each.lower(): each for each in values}
    spelt = known.get(name.lower())
    return (*field.path, spelt or name), values[spelt] if spelt else LEFT_OUT


def _refuse_entry(field: Field, name: str) -> None:
    if field.path[-1] == "workloadProfiles":
        if name.lower() == "consumption":
            raise NoFieldError("the profile Consumption is always there, and of that type")
    elif name.startswith("MOORAGE_") or name == "PYTHONPATH":
        raise NoFieldError("Moorage sets this variable for its own part of the replica")


def _merged(now: Any, value: Sequence[Mapping[str, Any]], name: str) -> Any:
    """The document's list with the one entry as found: changed in place, appended, or removed."""
    there = next((each for each in value if _is(each, name)), None)
    kept = [there if _is(each, name) else each for each in now]
    if there is not None and there not in kept:
        kept.append(there)
    left = [each for each in kept if each is not None]
    return left or LEFT_OUT


def _is(entry: Any, name: str) -> bool:
    return isinstance(entry, Mapping) and str(entry.get("name")).lower() == name.lower()


def _below(path: str, pattern: str) -> bool:
    """Whether `path` matches the pattern or lies below a match."""
    have, want = [*_parts(path)], [*_parts(pattern)]
    return len(have) >= len(want) and all(
        fnmatchcase(part.replace("[", "<"), wanted.replace("[", "<"))
        for part, wanted in zip(have, want, strict=False)
    )


def _entry(path: str, pattern: str) -> str | None:
    """The name of the entry that `path` has below the pattern; None if it has none."""
    rest = [*_parts(path)][len([*_parts(pattern)]) :]
    return rest[0].strip("[]") if rest else None


def _parts(path: str) -> Iterator[str]:
    """`a.b[c.d].e` -> a, b, [c.d], e."""
    return (match[0] for match in re.finditer(r"\[[^\]]*\]|[^.\[]+", path))
