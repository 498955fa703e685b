"""A container app's document between client and store: `configuration` and `template` read what was
sent, `fill` adds the state.

What a PUT answers is the sent document in Azure's spelling; what a later GET answers has the
defaults as well. `app_fields` says which fields there are.
"""

import re
from typing import Any

from . import app_fields

Body = dict[str, Any]


def configuration(sent: Body | None, *, fill: bool) -> Body:
    """`properties.configuration` without secret values; `fqdn` is the view's business."""
    given = app_fields.CONFIGURATION.read(sent or {}, "properties.configuration")
    for entry in given.get("secrets", []):
        entry.pop("value", None)
    if "ingress" in given:
        given["ingress"] = _ingress(given["ingress"], fill=fill)
    given.setdefault("identitySettings", [])
    if not fill:
        return given
    given = {
        **app_fields.CONFIGURATION.blank(),
        "targetLabel": "",
        "activeRevisionsMode": "Single",
        **given,
    }
    return given | {name: given[name] or None for name in ("secrets", "registries")}


def template(sent: Body | None, *, fill: bool) -> Body:
    """`properties.template`; `revisionSuffix` stays what was given, empty when nothing was."""
    given = app_fields.TEMPLATE.read(sent or {}, "properties.template")
    for name in ("containers", "initContainers"):
        for entry in given.get(name) or []:
            _complete(entry, fill=fill)
    if not fill:
        return given
    given = {**app_fields.TEMPLATE.blank(), "revisionSuffix": "", "containers": [], **given}
    given["scale"] = _scale(given["scale"] or {})
    return given | {
        name: given[name] or None for name in ("initContainers", "volumes", "serviceBinds")
    }


def substance(filled: Body, profile: str | None) -> Body:
    """What makes a revision: the filled template without its suffix, and the profile it runs on. An
    empty list of a container's is as good as none: Azure shows neither.
    """
    containers = {
        kind: [
            {name: value for name, value in entry.items() if value not in (None, "", [])}
            for entry in filled[kind] or []
        ]
        for kind in ("containers", "initContainers")
    }
    return {**filled, **containers, "revisionSuffix": "", "workloadProfileName": profile}


def secrets(sent: Body | None) -> list[Body]:
    """The secrets with their values, for the private part of the record."""
    read = [
        app_fields.SECRET.read(entry, "properties.configuration.secrets")
        for entry in (sent or {}).get("secrets") or []
    ]
    return [
        {name: value for name, value in entry.items() if value or name in {"name", "value"}}
        for entry in read
    ]


def memory(text: str) -> str:
    """`2.0Gi` is `2Gi` to Azure."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)Gi", text)
    return f"{float(match[1]):g}Gi" if match else text


def disk(cores: float) -> str:
    """The ephemeral storage that comes with so many cores; a request cannot set it."""
    return "1Gi" if cores <= 0.25 else "2Gi" if cores <= 0.5 else "4Gi" if cores <= 1 else "8Gi"


def _ingress(given: Body, *, fill: bool) -> Body:
    given = {"external": False, "allowInsecure": False, **given}
    if not fill:
        return given
    given = {
        **app_fields.INGRESS.blank(),
        "targetPort": 0,
        "exposedPort": 0,
        "transport": "Auto",
        **given,
        "fqdn": None,
    }
    traffic = [
        _weight(entry) for entry in given["traffic"] or [{"weight": 100, "latestRevision": True}]
    ]
    lists = {
        name: given[name] or None
        for name in ("customDomains", "ipSecurityRestrictions", "additionalPortMappings")
    }
    cors = given["corsPolicy"]
    if cors and not cors.get("exposeHeaders"):
        cors = {**cors, "exposeHeaders": None}  # Azure gives null back for an empty list
    return given | lists | {"traffic": traffic, "corsPolicy": cors}


def _weight(entry: Body) -> Body:
    return {name: value for name, value in {"weight": 0, **entry}.items() if value is not False}


def _complete(container: Body, *, fill: bool) -> None:
    container.setdefault("imageType", "ContainerImage" if fill else "CloudBuild")
    if fill or "resources" in container:
        given = container.get("resources") or {}
        cores = given.get("cpu", 0.5)
        size = {
            "cpu": cores,
            "memory": memory(given.get("memory") or "1Gi"),
            "ephemeralStorage": disk(cores),
        }
        container["resources"] = {**size, **({"gpu": given["gpu"]} if "gpu" in given else {})}


def _scale(given: Body) -> Body:
    """Queue rules of the custom kind become rules of their own kind."""
    rules = [_queue(rule) for rule in given.get("rules") or []] or None
    return {
        "minReplicas": None,
        "maxReplicas": 10,
        "cooldownPeriod": 300,
        "pollingInterval": 30,
        **given,
        "rules": rules,
    }


def _queue(rule: Body) -> Body:
    custom = rule.get("custom") or {}
    if custom.get("type") != "azure-queue":
        return rule
    metadata = custom.get("metadata") or {}
    known: Body = {
        name: metadata[name] for name in ("accountName", "queueName") if metadata.get(name)
    }
    length = str(metadata.get("queueLength") or "")
    known |= {"queueLength": int(length)} if length.isdigit() else {}
    return {
        "name": rule.get("name"),
        "azureQueue": known | {key: custom[key] for key in ("auth", "identity") if custom.get(key)},
    }
