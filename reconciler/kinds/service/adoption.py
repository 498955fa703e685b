"""Adopting a container app that somebody else made, and releasing it again: who owns it, what is
asked of it, and how its traffic is held until a revision of ours is proven. Pure; container_app.py
writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api import tags
from reconciler.api.outputs import AppOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.ownership import Ownership
from reconciler.engine.errors import NotOwned
from reconciler.engine.external import Change, Origin

Body = Mapping[str, Any]
STAYS = "what answers goes on answering"


def origin_of(
    spec: ContainerAppSpec, found: Body, ownership: Ownership, before: AppOutputs | None
) -> Origin:
    """Who made the app. `before` are the outputs of the last look, which remember an adoption whose
    tag was lost.

    Raises:
        NotOwned: it is another set's, or it has no owner and the document does not adopt it.
    """
    if ownership.owns(found):
        adopted = tags.is_adopted(found) or (before is not None and before.adopted)
        return Origin.ADOPTED if adopted else Origin.OURS
    ownership.refuse_another(f"container app {spec.name}", found)
    if not spec.named:
        raise NotOwned(
            Reason.NOT_OWNED,
            f"container app {spec.name} exists and is not Moorage's; write adoptionPolicy:"
            " AdoptOrCreate in its document to take it over, or choose another name",
        )
    return Origin.FOREIGN


def asked(spec: ContainerAppSpec, found: Body, origin: Origin) -> Body:
    """What the document asks of the app. Of an app that existed before, without the fields that
    belong to its environment, and with the tag of an adoption.
    """
    if origin is Origin.OURS:
        return spec.body
    properties = spec.body["properties"]
    ingress = {**properties["configuration"]["ingress"]}
    sticky = _ingress(found).get("stickySessions") or {}
    if str(sticky.get("affinity") or "none").lower() != "none":
        ingress["stickySessions"] = {"affinity": "none"}  # Azure has them in Single mode only
    configuration = {**properties["configuration"], "ingress": ingress}
    identity = {name: spec.body[name] for name in ("identity",) if name in spec.body}
    return {
        "tags": {**spec.body["tags"], tags.ADOPTED: "true"},
        **identity,
        "properties": {**properties, "configuration": configuration},
    }


def held_traffic(found: Body) -> list[dict[str, Any]] | None:
    """The traffic with explicit weights for the revisions that answer now; None where it is
    explicit already. Otherwise a new revision would take all of it at once.
    """
    properties, ingress = found["properties"], _ingress(found)
    latest = properties.get("latestRevisionName")
    entries = [dict(entry) for entry in ingress.get("traffic") or ()]
    if not ingress or not latest:
        return None
    if str(properties["configuration"].get("activeRevisionsMode")).lower() == "single":
        held = [
            {"revisionName": properties.get("latestReadyRevisionName") or latest, "weight": 100}
        ]
    else:
        held = [_explicit(entry, latest) for entry in entries]
    return None if held == entries else held


def traffic_change(found: Body, held: list[dict[str, Any]] | None) -> tuple[Change, ...]:
    """The difference that `held_traffic` makes, for people."""
    if held is None:
        return ()
    before = {
        str(e.get("revisionName") or "(latest)"): e.get("weight")
        for e in _ingress(found).get("traffic") or ()
    }
    after = {entry["revisionName"]: entry.get("weight") for entry in held}
    return (Change("properties.configuration.ingress.traffic", before, after, STAYS),)


def secret(entry: Body, values: Mapping[str, str]) -> dict[str, Any]:
    """A secret as ARM takes it back: with its value, or with its place in a Key Vault."""
    name = str(entry["name"])
    if entry.get("keyVaultUrl"):
        return {
            field: entry[field] for field in ("name", "keyVaultUrl", "identity") if entry.get(field)
        }
    return {"name": name, "value": values.get(name)}


def _explicit(entry: dict[str, Any], latest: str) -> dict[str, Any]:
    if not entry.get("latestRevision"):
        return entry
    return {
        "revisionName": latest,
        **{name: value for name, value in entry.items() if name != "latestRevision"},
    }


def _ingress(found: Body) -> Body:
    return (found["properties"].get("configuration") or {}).get("ingress") or {}
