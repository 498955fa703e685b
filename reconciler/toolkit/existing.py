"""The resources that a fine-tuning run, or a person, has created in the resource group; read and
never written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.arm import files, ids
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share
from reconciler.toolkit.project import MODELS, adapter_folders

# The templates name a resource by a prefix and five characters that follow from the resource group.
SEARCHED = {
    "storageAccountName": "aistorage",
    "fileShareName": "aifileshare",
    "acaEnvironmentName": "aienv",
    "acaEnvironmentStorageName": "aienvstorage",
    "acaLogAnalyticsName": "ailog",
}


class AmbiguousError(Exception):
    """Several resources match."""

    def __init__(self, parameter: str, found: list[str]) -> None:
        super().__init__(
            f"the resource group holds {', '.join(found)}; say which in {parameter} of"
            " inference.parameters.json"
        )


@dataclass(frozen=True)
class Existing:
    """`names` are of resources that exist, by parameter; `found` those among them that no file
    names. `profiles` are the environment's; `adapters` and `model` are on the share; `foreign_app`
    is an app under the wanted name that is not ours, as ARM has it, and `adopts` says that it is to
    be taken over: the project names it, and it is where the service will be. `quota` is that of a
    share that Moorage made: a document without it would bring back the default.
    """

    group: str = ""
    location: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    found: tuple[str, ...] = ()
    profiles: tuple[Mapping[str, Any], ...] = ()
    adapters: tuple[str, ...] = ()
    model: str | None = None
    foreign_app: Mapping[str, Any] | None = None
    adopts: bool = False
    quota: int | None = None

    @property
    def adopted(self) -> Mapping[str, Any]:
        """The properties of the container app to adopt; empty if there is none."""
        return (self.foreign_app or {}).get("properties") or {} if self.adopts else {}


async def look(
    arm: Arm, group: str, given: Mapping[str, str], service: str, model: str | None
) -> Existing:
    """Find the resources that `given` (by parameter) names; for a parameter without a name, find
    the resource by the name that the templates would give it. A container app that `given` names
    determines the managed environment, because a container app cannot move.

    Raises:
        AmbiguousError: two resources fit one parameter.
        ReconcileError: Azure refuses to answer.
    """
    there = await arm.inventory.find(
        Kind.RESOURCE_GROUP, ids.subscription(arm.subscription_id), group
    )
    if there is None:
        return Existing(group)
    scope = ids.resource_group(arm.subscription_id, group)
    app = await arm.inventory.find(Kind.APP, scope, service)
    foreign = None if app is None or tags.tag(app, tags.OWNER) else app
    home = _home(foreign, scope) if given.get("acaAppName") == service else ""
    if home:
        given = {"acaEnvironmentName": home, **given}
    names: dict[str, str] = {}
    environment: Mapping[str, Any] = {}
    share: Mapping[str, Any] = {}
    for parameter, kind, below in (
        ("storageAccountName", Kind.STORAGE_ACCOUNT, scope),
        ("acaLogAnalyticsName", Kind.WORKSPACE, scope),
        ("acaEnvironmentName", Kind.ENVIRONMENT, scope),
        ("fileShareName", Kind.SHARE, "storageAccountName"),
        ("acaEnvironmentStorageName", Kind.STORAGE, "acaEnvironmentName"),
    ):
        if below != scope:
            if below not in names:
                continue
            parent = ids.storage_account if kind is Kind.SHARE else ids.environment
            below = parent(arm.subscription_id, group, names[below])  # noqa: PLW2901
        found = _pick(parameter, given.get(parameter), await arm.inventory.list(kind, below))
        if found is not None:
            names[parameter] = str(found["name"])
            environment = found if kind is Kind.ENVIRONMENT else environment
            share = found if kind is Kind.SHARE else share
    return Existing(
        group=group,
        location=str(there["location"]),
        names=names,
        found=tuple(name for parameter, name in names.items() if not given.get(parameter)),
        profiles=tuple((environment.get("properties") or {}).get("workloadProfiles") or ()),
        foreign_app=foreign,
        quota=_quota(share),
        adopts=bool(home) and names.get("acaEnvironmentName") == home,
        **await _on_share(arm, group, names, model),
    )


def _quota(share: Mapping[str, Any]) -> int | None:
    properties = share.get("properties") or {}
    made = tags.of_share(share) if properties else {}
    return int(properties["shareQuota"]) if made and "shareQuota" in properties else None


def _home(app: Mapping[str, Any] | None, scope: str) -> str:
    """The name of the container app's environment in the resource group `scope`; empty if it is in
    another group.
    """
    properties = (app or {}).get("properties") or {}
    where, _, name = str(
        properties.get("environmentId") or properties.get("managedEnvironmentId") or ""
    ).rpartition("/")
    return name if ids.same(where, f"{scope}/providers/Microsoft.App/managedEnvironments") else ""


def _pick(parameter: str, given: str | None, listed: list[dict[str, Any]]) -> dict[str, Any] | None:
    if given:
        return next((each for each in listed if str(each["name"]).lower() == given.lower()), None)
    shape = re.compile(rf"{SEARCHED[parameter]}[a-z0-9]{{5}}")
    fitting = [each for each in listed if shape.fullmatch(str(each["name"]).lower())]
    if len(fitting) > 1:
        raise AmbiguousError(parameter, [str(each["name"]) for each in fitting])
    return fitting[0] if fitting else None


async def _on_share(
    arm: Arm, group: str, names: Mapping[str, str], model: str | None
) -> dict[str, Any]:
    if "fileShareName" not in names:
        return {}
    share = Share(arm, group, names["storageAccountName"], names["fileShareName"])
    below = [f"{MODELS}/{path}" for path in await files.list_tree(share, MODELS)]
    entries, folders = await files.list_directory(share, model) if model else ([], [])
    return {
        "adapters": tuple(adapter_folders(below)),
        "model": model if entries or folders else None,
    }
