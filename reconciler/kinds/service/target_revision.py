"""Which revision of a container app is reconciled: the one that the document asks for, or, after a
rollback, the one that serves instead. `container_app` asks; `hold` is the rollback.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps
from reconciler.arm.clients import Arm
from reconciler.kinds.service import app_body
from reconciler.kinds.service.hold import Hold
from reconciler.kinds.service.replicas import Seen


@dataclass(frozen=True)
class TargetRevision:
    """`spec` is that of the revision that is to serve. `hold` is the decision in the app's tag, if
    any; `held` is the same decision if it refuses the revision that the document asks for.
    """

    spec: ContainerAppSpec
    hold: Hold | None
    held: Hold | None


async def choose_target(arm: Arm, wanted: ContainerAppSpec, hold: Hold | None) -> TargetRevision:
    """A decision is void once Azure has dropped the revision that was to serve instead: then there
    is nothing to go back to.
    """
    if hold is None or hold.refused != wanted.revision:
        return TargetRevision(wanted, hold, None)
    serving = await _instead(arm, wanted, hold)
    return TargetRevision(serving, hold, hold) if serving else TargetRevision(wanted, None, None)


def ordered(spec: ContainerAppSpec, seen: Seen) -> str:
    """The revision that a person wants instead of the document's, if Azure still has it."""
    kept = (each.name for each in seen.revisions if each.name != spec.revision)
    return spec.instead if spec.instead in kept else ""


async def _instead(arm: Arm, wanted: ContainerAppSpec, hold: Hold) -> ContainerAppSpec | None:
    """`wanted` with the template of the revision that serves and the engine that its replicas
    report as. None when that revision is gone.
    """
    listed = await apps.list_revisions(arm, wanted.resource_group, wanted.name)
    kept = next((each for each in listed if each["name"] == hold.serves), None)
    if kept is None:
        return None
    template = {"scale": {}, **(kept["properties"].get("template") or {})}
    template["scale"] = template["scale"] or {}
    return replace(
        wanted,
        suffix=hold.serves.rpartition("--")[2],
        template=template,
        engine=wanted.engine and (app_body.engine_of(template) or wanted.engine),
    )
