"""Which template of an app is compared with the document: after a rollback the app keeps the one
that was given up, and another revision serves. `container_app` asks, `app_write` tells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids
from reconciler.arm.clients import Arm
from reconciler.engine.diff import diff
from reconciler.engine.external import Change
from reconciler.kinds import template_rules
from reconciler.kinds.service.app_write import is_ours, weights_of
from reconciler.kinds.service.rollout import Action, Step

Body = Mapping[str, Any]


@dataclass(frozen=True)
class _Live:
    """`under` is a template that was given up and that somebody else has changed since. Only what
    they changed in their `template` is reported.
    """

    template: Body
    under: Body | None = None

    def changes(self, spec: ContainerAppSpec) -> tuple[Change, ...]:
        found = differences(spec, self.template)
        kept = () if self.under is None else differences(spec, self.under)
        before = [(each.path, each.before) for each in kept]
        return tuple(each for each in found if (each.path, each.before) not in before)


async def reported_changes(
    arm: Arm, spec: ContainerAppSpec, found: Body, step: Step
) -> tuple[Change, ...]:
    """The differences in the template, for the rollout steps that report them."""
    if step.action not in (Action.WRITE, Action.ACTIVATE, Action.DEACTIVATE):
        return ()
    stopped = step.revisions if step.action is Action.DEACTIVATE else ()
    return (await _live(arm, found, stopped)).changes(spec)


async def live_app(arm: Arm, found: Body, changes: Collection[Change]) -> dict[str, Any]:
    """The app `found` with the template that was compared for `changes`."""
    stopped = [
        each.path.removeprefix("revisions[").removesuffix("].active")
        for each in changes
        if each.path.startswith("revisions[") and each.after is False
    ]
    template = (await _live(arm, found, stopped)).template
    return {**found, "properties": {**found["properties"], "template": template}}


def differences(spec: ContainerAppSpec, template: Body) -> tuple[Change, ...]:
    """What the document asks of the template, and what is there."""
    return diff(spec.template, template, template_rules.RULES, at=template_rules.TEMPLATE)


async def _live(arm: Arm, found: Body, stopped: Collection[str]) -> _Live:
    """The template of the revision that serves, if the app's own does not. If somebody else made
    the app's own and their revision is `stopped`, theirs is what differs.
    """
    template = found["properties"].get("template") or {}
    listed = await apps.list_revisions(
        arm, ids.part(str(found["id"]), "resourceGroups"), str(found["name"])
    )
    there = {str(each["name"]): each["properties"].get("template") or {} for each in listed}
    weights = {name: weight for name, weight in weights_of(found).items() if name in there}
    newest = _newest(found, template)
    if not weights or newest in weights:
        return _Live(template)
    if newest in stopped and not is_ours(newest):
        older = [name for name in there if name != newest and is_ours(name)]
        given_up = bool(older) and older[-1] not in weights
        return _Live(template, there[older[-1]] if given_up else None)
    serving = there[max(weights, key=lambda name: weights[name])]
    # Azure does not show all of a revision's scale; the rest is as the app has it.
    scale = {**(template.get("scale") or {}), **(serving.get("scale") or {})}
    return _Live({**serving, "scale": scale})


def _newest(found: Body, template: Body) -> str:
    """The revision that was asked for last, which Azure may have refused."""
    suffix = template.get("revisionSuffix")
    latest = str(found["properties"].get("latestRevisionName") or "")
    return f"{found['name']}--{suffix}" if suffix else latest
