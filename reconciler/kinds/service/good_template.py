"""Writes to a container app that leave its template alone. `container_app` sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids
from reconciler.arm.clients import Arm
from reconciler.engine.errors import TerminalError
from reconciler.engine.external import Operation
from reconciler.kinds.service import app_body
from reconciler.kinds.service.app_write import is_refused, weights_of


async def patch_app(
    arm: Arm, found: Mapping[str, Any], body: dict[str, Any], spec: ContainerAppSpec | None = None
) -> Operation | None:
    """Patch the app `found`, whose document asks for `spec`. An app keeps a template that Azure
    refused, and each later write without a template ends with that refusal again, although it was
    carried out. So such a write takes the template of a revision along.
    """
    group, name = ids.part(str(found["id"]), "resourceGroups"), str(found["name"])
    good = await _good(arm, found, spec) if "template" not in body.get("properties", {}) else None
    if good is not None:
        whole = {**body, "properties": {**body.get("properties", {}), "template": good}}
        try:
            return await apps.patch_app(arm, group, name, whole)
        except TerminalError:
            pass  # Azure does not list all of a revision, so this may not be the same template
    return await apps.patch_app(arm, group, name, body)


async def _good(
    arm: Arm, found: Mapping[str, Any], spec: ContainerAppSpec | None
) -> dict[str, Any] | None:
    """The template of the document's revision, else of the one with most of the traffic; None where
    no template was refused.
    """
    if str(found["properties"].get("provisioningState")).lower() not in ("failed", "canceled"):
        return None
    listed = await apps.list_revisions(
        arm, ids.part(str(found["id"]), "resourceGroups"), str(found["name"])
    )
    there = {str(each["name"]): each["properties"].get("template") or {} for each in listed}
    if not is_refused(found, there):
        return None
    if spec is not None and spec.revision in there:
        return app_body.revision(spec)
    weights = {name: weight for name, weight in weights_of(found).items() if name in there}
    if not weights:
        return None
    serves = max(weights, key=lambda name: weights[name])
    # Azure does not show the other fields of a revision, or shows them in another form, so the
    # app's own values stay.
    scale = there[serves].get("scale") or {}
    shown = {name: scale[name] for name in ("minReplicas", "maxReplicas") if name in scale}
    return {**there[serves], "scale": shown, "revisionSuffix": serves.rpartition("--")[2]}
