"""A container app as Azure takes it. Pure; `container_app` and `arm_template` send it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds.service import api_keys

ENGINE_VARIABLE = "MOORAGE_ENGINE"


def creation(
    spec: ContainerAppSpec,
    environment: str,
    keys: Mapping[str, str],
    secrets: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What creates the app in the managed environment of that id, with its API keys by name and its
    other secrets.
    """
    body = whole(spec, environment)
    configuration = body["properties"]["configuration"]
    configuration["secrets"] = [
        *({"name": api_keys.PREFIX + name, "value": value} for name, value in keys.items()),
        *secrets,
    ]
    configuration["ingress"]["traffic"] = [{"revisionName": spec.revision, "weight": 100}]
    return body


def whole(spec: ContainerAppSpec, environment: str) -> dict[str, Any]:
    """The app with its template, without secrets and traffic."""
    properties = spec.body["properties"]
    configuration = {
        **properties["configuration"],
        "ingress": dict(properties["configuration"]["ingress"]),
    }
    own = {
        "environmentId": environment,
        "configuration": configuration,
        "template": revision(spec),
    }
    return {**spec.body, "properties": {**properties, **own}}


def revision(spec: ContainerAppSpec) -> dict[str, Any]:
    """The template under the name that its content gives the revision."""
    return {"revisionSuffix": spec.suffix, **spec.template}


def identity(asked: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Managed identities as a merge patch: one that is not asked for goes by a null."""
    users = asked.get("userAssignedIdentities") or {}
    wanted = {name.casefold() for name in users}
    there = found.get("userAssignedIdentities") or {}
    gone = {name: None for name in there if name.casefold() not in wanted}
    return {"type": asked["type"], "userAssignedIdentities": {**users, **gone} or None}


def engine_of(template: Mapping[str, Any]) -> str | None:
    """The engine that replicas of this template report as; None where there is no model."""
    for container in template.get("containers") or ():
        for variable in container.get("env") or ():
            if variable["name"] == ENGINE_VARIABLE:
                return str(variable.get("value"))
    return None
