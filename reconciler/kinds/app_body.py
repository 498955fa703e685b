"""A container app as Azure takes it. Pure; `container_app` and `arm_template` send it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds import api_keys

ENGINE_VARIABLE = "MOORAGE_ENGINE"


def creation(spec: ContainerAppSpec, environment: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """What creates the app in the managed environment of that id, with its API keys by name."""
    body = whole(spec, environment)
    configuration = body["properties"]["configuration"]
    configuration["secrets"] = [
        {"name": api_keys.PREFIX + name, "value": value} for name, value in keys.items()
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


def engine_of(template: Mapping[str, Any]) -> str | None:
    """The engine that replicas of this template report as; None where there is no model."""
    for container in template.get("containers") or ():
        for variable in container.get("env") or ():
            if variable["name"] == ENGINE_VARIABLE:
                return str(variable.get("value"))
    return None
