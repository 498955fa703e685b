"""What a look at a container app and the rollout's next step come to, as fields that a plan shows
and a write settles. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.diff import Rules, diff
from reconciler.engine.external import Change
from reconciler.kinds.replicas import Seen
from reconciler.kinds.rollout import Action, Step

PORT = "properties.configuration.ingress.targetPort"
PROFILE = "properties.workloadProfileName"
TEMPLATE_RULES = Rules(
    lists={
        "containers": "name",
        "containers.env": "name",
        "containers.probes": "type",
        "containers.volumeMounts": "mountPath",
        "volumes": "name",
        "scale.rules": "name",
    },
    whole=(
        "containers",
        "containers.env",
        "containers.probes",
        "containers.volumeMounts",
        "volumes",
        "scale.rules",
    ),
    quantities=("containers.resources.cpu",),
    defaults={"scale.minReplicas": 0, "terminationGracePeriodSeconds": 30},
    ignored=("volumes.mountOptions",),
)


def with_the_template(
    changes: tuple[Change, ...], spec: ContainerAppSpec, seen: Seen
) -> tuple[Change, ...]:
    """Another workload profile goes together with the revision that is to run there."""
    there = any(revision.name == spec.revision for revision in seen.revisions)
    return () if there else tuple(change for change in changes if change.path == PROFILE)


def retired(spec: ContainerAppSpec, seen: Seen, step: Step) -> tuple[Change, ...]:
    """The revisions of others, which go once ours serves."""
    others = [
        r.name
        for r in seen.revisions
        if r.active and r.name != spec.revision and step.action is not Action.DEACTIVATE
    ]
    return tuple(
        Change(f"revisions[{name}].active", True, False, "once the new one serves")
        for name in others
    )


def with_the_traffic(
    changes: tuple[Change, ...], spec: ContainerAppSpec, found: Mapping[str, Any], step: Step
) -> tuple[Change, ...]:
    """A new port goes together with the traffic: until then the old revision answers, on the old
    one.
    """
    others = any(name != spec.revision for name in weights_of(found))
    booting = others and step.action in (Action.WRITE, Action.ACTIVATE, Action.WAIT)
    return tuple(change for change in changes if booting and change.path == PORT)


def next_changes(
    configuration: tuple[Change, ...],
    later: tuple[Change, ...],
    steps: tuple[Change, ...],
    step: Step,
) -> tuple[Change, ...]:
    """What the next write settles; with a new template also what follows from it, because that is
    what a plan is about. Revisions are switched on and off by a write of their own, which has to
    wait for its turn.
    """
    if step.action is Action.WRITE:
        return (*configuration, *steps, *later)
    if configuration and step.action in (Action.ACTIVATE, Action.DEACTIVATE):
        return configuration
    return (*configuration, *steps)


def weights_of(found: Mapping[str, Any]) -> dict[str, int]:
    """Traffic by revision name; an entry for the latest revision counts for the one that is latest
    now.
    """
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


def step_changes(
    spec: ContainerAppSpec, found: Mapping[str, Any], step: Step
) -> tuple[Change, ...]:
    """What a rollout step writes, as field paths a person can read."""
    if step.action in (Action.NONE, Action.WAIT):
        return ()
    if step.action is Action.SHIFT:
        return (
            Change(
                "configuration.ingress.traffic",
                weights_of(found),
                dict(step.weights or {}),
                "traffic moves",
            ),
        )
    if step.action is Action.WRITE:
        changed = diff(spec.template, found["properties"].get("template") or {}, TEMPLATE_RULES)
        paths = tuple(
            Change(f"template.{c.path}", c.before, c.after, "new revision") for c in changed
        )
        return paths or (Change("template.revisionSuffix", None, spec.suffix, "new revision"),)
    drifted = diff(spec.template, found["properties"].get("template") or {}, TEMPLATE_RULES)
    fields = tuple(
        Change(f"template.{c.path}", c.before, c.after, "revision is taken out of service")
        for c in drifted
    )
    active = step.action is Action.ACTIVATE
    return (
        *fields,
        *(
            Change(f"revisions[{name}].active", not active, active, step.action.value)
            for name in step.revisions
        ),
    )
