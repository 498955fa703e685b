"""The next write to a container app: decided from a look at it and the rollout's next step, in
fields that a plan shows. Pure; container_app.py sends it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reconciler.api import tags
from reconciler.api.outputs import Revision
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids
from reconciler.engine.errors import TerminalError
from reconciler.engine.external import Change, Impact, Origin
from reconciler.kinds import template_rules
from reconciler.kinds.service import adoption, api_keys
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Action, Step

NO_STEP = Step(Action.NONE)
PORT = "properties.configuration.ingress.targetPort"
PROFILE = "properties.workloadProfileName"
EXTERNAL = "properties.configuration.ingress.external"
CLOSED = "nobody outside the managed environment reaches it any more"
_OURS = re.compile(r"r[0-9a-f]{9}")  # as the composition names revisions


@dataclass(frozen=True)
class AppWrite:
    """One write.

    `configuration` are the fields outside the template that it settles. `traffic` are the weights
    that it sets with them: those of the revisions that serve before a template of ours is written,
    or those of the app's first revision. `step` is its rollout step, NONE when the configuration
    goes first. `changes` are all fields that it settles, `later` those of the writes after it.
    """

    configuration: tuple[Change, ...] = ()
    traffic: list[dict[str, Any]] | None = None
    step: Step = NO_STEP
    changes: tuple[Change, ...] = ()
    later: tuple[Change, ...] = ()


def decide(
    spec: ContainerAppSpec,
    found: Mapping[str, Any],
    origin: Origin,
    seen: Seen,
    step: Step,
    differences: tuple[Change, ...],
    keys: tuple[tuple[str, str], ...] = (),
    secrets: tuple[Change, ...] = (),
    template: tuple[Change, ...] = (),
) -> AppWrite:
    """What to write next, given the rollout's next `step`, the `differences` outside the template
    and those in the `template`, the `keys` that exist, by name and SHA-256, and the changes of the
    document's `secrets`.

    A foreign app gets its configuration first, in a write of its own: even if the template fails,
    the app then carries its owner, and its traffic stays where it is. Revisions are switched on and
    off by a write of their own, after the configuration.
    """
    held = adoption.held_traffic(found)
    waiting = (
        *_with_the_template(differences, spec, seen),
        *_with_the_traffic(differences, spec, found, step),
    )
    configuration = (
        *(_closing(change) for change in differences if change not in waiting),
        *api_keys.changes(spec, found, origin),
        *api_keys.rotations(spec, keys),
        *secrets,
        *adoption.traffic_change(found, held),
    )
    steps = _step_changes(spec, found, seen, step, template)
    if origin is Origin.FOREIGN or held is not None:
        later = (*steps, *waiting, *_retired(spec, seen, step))
        return AppWrite(configuration, held, NO_STEP, configuration, later)
    if step.action is Action.WRITE:
        traffic = _traffic_to_the_first(spec, found, seen)
        return AppWrite(configuration, traffic, step, (*configuration, *steps, *waiting))
    # Only a SHIFT is configuration too; ARM has a call of its own to switch a revision.
    if configuration and step.action is not Action.SHIFT:
        return AppWrite(configuration, None, NO_STEP, configuration, steps)
    return AppWrite(configuration, None, step, (*configuration, *steps))


def _closing(change: Change) -> Change:
    """The change; where it cuts callers off, with a text that says so."""
    closes = change.path == EXTERNAL and change.before is True and change.after is False
    return replace(change, effect=CLOSED) if closes else change


def describe(write: AppWrite, origin: Origin) -> str:
    """What a write does, in words."""
    parts = []
    if write.configuration:
        verb = "take over, with" if origin is Origin.FOREIGN else "update"
        parts.append(f"{verb} " + ", ".join(change.path for change in write.configuration))
    if write.step.action is not Action.NONE:
        parts.append(f"{write.step.action.value}: {write.step.message}")
    return "; ".join(parts)


def _with_the_template(
    changes: tuple[Change, ...], spec: ContainerAppSpec, seen: Seen
) -> tuple[Change, ...]:
    """A change of the workload profile is written together with the revision that is to run on
    it.
    """
    there = any(revision.name == spec.revision for revision in seen.revisions)
    return () if there else tuple(change for change in changes if change.path == PROFILE)


def _traffic_to_the_first(
    spec: ContainerAppSpec, found: Mapping[str, Any], seen: Seen
) -> list[dict[str, Any]] | None:
    """The weights to send with a template, if the traffic names no existing revision. That is so
    when Azure refused the app's first template: it refuses the next one too, unless that brings its
    own traffic.
    """
    there = {revision.name for revision in seen.revisions}
    if weights_of(found).keys() & there:
        return None
    return [{"revisionName": spec.revision, "weight": 100}]


def _retired(spec: ContainerAppSpec, seen: Seen, step: Step) -> tuple[Change, ...]:
    """The other active revisions, which are deactivated once ours serves."""
    others = [
        r.name
        for r in seen.revisions
        if r.active and r.name != spec.revision and step.action is not Action.DEACTIVATE
    ]
    return tuple(
        Change(f"revisions[{name}].active", True, False, "once the new one serves")
        for name in others
    )


def _with_the_traffic(
    changes: tuple[Change, ...], spec: ContainerAppSpec, found: Mapping[str, Any], step: Step
) -> tuple[Change, ...]:
    """A new port is written together with the traffic: until then the old revision answers on the
    old port.
    """
    others = any(name != spec.revision for name in weights_of(found))
    booting = others and step.action in (Action.WRITE, Action.ACTIVATE, Action.WAIT)
    return tuple(change for change in changes if booting and change.path == PORT)


def refuse_move(spec: ContainerAppSpec, found: Mapping[str, Any], wanted: str) -> None:
    """Raise if the app runs in another managed environment than `wanted`, an ARM id."""
    actual = apps.environment_of(found)
    if wanted and actual and not ids.same(wanted, actual):
        raise TerminalError(
            Reason.ENVIRONMENT_IMMUTABLE,
            f"container app {spec.name} runs in {actual.rsplit('/', 1)[-1]}; "
            f"Azure cannot move it to {wanted.rsplit('/', 1)[-1]}",
        )


def weights_of(found: Mapping[str, Any]) -> dict[str, int]:
    """Traffic by revision name; an entry for the latest revision counts for the newest one now."""
    properties = found["properties"]
    entries = ((properties["configuration"] or {}).get("ingress") or {}).get("traffic") or []
    weights: dict[str, int] = {}
    for entry in entries:
        name = (
            properties.get("latestRevisionName")
            if entry.get("latestRevision")
            else entry.get("revisionName")
        )
        if entry.get("weight"):
            weights[str(name)] = weights.get(str(name), 0) + int(entry["weight"])
    return weights


def _gap(spec: ContainerAppSpec, seen: Seen) -> str:
    """How long no replica serves if the old revision stops before the new one boots; empty if it
    does not.
    """
    if seen.wanted is not None and seen.wanted.active:
        return ""
    if spec.startup_seconds:
        return f"no replica serves for about {seen.predicted()} s, until the new revision is ready"
    return f"no replica serves until the new revision is ready, at most {spec.deadline_seconds} s"


def _step_changes(
    spec: ContainerAppSpec,
    found: Mapping[str, Any],
    seen: Seen,
    step: Step,
    template: tuple[Change, ...],
) -> tuple[Change, ...]:
    """What a rollout step writes, as field paths a person can read."""
    if step.action in (Action.NONE, Action.WAIT, Action.PAUSE):
        return ()
    if step.action in (Action.HOLD, Action.RELEASE):
        before, after = tags.tag(found, tags.HELD), " ".join(step.revisions)
        value = after if step.action is Action.HOLD else None
        return (Change(f"tags.{tags.HELD}", before, value, step.message),)
    if step.action is Action.SHIFT:
        return (
            Change(
                "properties.configuration.ingress.traffic",
                weights_of(found),
                dict(step.weights or {}),
                "traffic moves",
            ),
        )
    if step.action is Action.WRITE:
        changed = _with_effect(template, "new revision")
        suffix = f"{template_rules.TEMPLATE}.revisionSuffix"
        return changed or (
            Change(suffix, None, spec.suffix, why_again(found, seen.wanted), Impact.NEW_REVISION),
        )
    active = step.action is Action.ACTIVATE
    gap = "" if active else _gap(spec, seen)
    effect, given = gap or step.action.value, Impact.RESTART if gap or active else None
    return (
        *(replace(change, effect=effect, given=given) for change in template),
        *(
            Change(f"revisions[{name}].active", not active, active, effect, given)
            for name in step.revisions
        ),
    )


def is_refused(found: Mapping[str, Any], revisions: Collection[str]) -> bool:
    """Whether Azure made none of these `revisions` of the template that the app has."""
    suffix = (found["properties"].get("template") or {}).get("revisionSuffix")
    return bool(suffix) and f"{found['name']}--{suffix}" not in revisions


def is_ours(revision: str) -> bool:
    """Whether the composition named that revision. Azure accepts each name only once, so nobody
    else can have another template under it.
    """
    return bool(_OURS.fullmatch(revision.rpartition("--")[2]))


def why_again(found: Mapping[str, Any], wanted: Revision | None) -> str:
    """Why a template that Azure already has needs another revision."""
    latest = str(found["properties"].get("latestRevisionName") or "")
    if wanted is None and is_refused(found, (latest,)):
        return "new revision: Azure refused the last one with this template"
    if wanted is not None:
        return "new revision: the last one with this template was given up"
    if not is_ours(latest):
        return "new revision: the present one is the same, but somebody else made it"
    return "new revision"  # the profile, or a secret that it reads, is another


def _with_effect(changes: tuple[Change, ...], effect: str) -> tuple[Change, ...]:
    return tuple(replace(change, effect=effect) for change in changes)
