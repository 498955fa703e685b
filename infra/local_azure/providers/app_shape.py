"""A container app's document: what was sent, spelled as Azure spells it. `fill` adds the defaults that a later GET shows.

The answer to a PUT is the same document without them: an echo, not the state. Secrets' values are taken out by `secrets`.
"""

import re
from typing import Any

Body = dict[str, Any]
_MODES = {"single": "Single", "multiple": "Multiple"}
_TRANSPORTS = {"auto": "Auto", "http": "Http", "http2": "Http2", "tcp": "Tcp"}


def configuration(sent: Body | None, *, fill: bool) -> Body:
    """`properties.configuration` without secret values; `fqdn` is the view's business."""
    given = sent or {}
    mode = given.get("activeRevisionsMode")
    shown: Body = {
        "secrets": [_secret_name(entry) for entry in given.get("secrets") or []] or None,
        "activeRevisionsMode": _MODES.get(str(mode).lower(), mode) if mode else ("Single" if fill else None),
        "ingress": ingress(given["ingress"], fill=fill) if given.get("ingress") else None,
        "registries": [_registry(entry) for entry in given.get("registries") or []] or None,
        "dapr": given.get("dapr"),
        "maxInactiveRevisions": given.get("maxInactiveRevisions"),
        "service": given.get("service"),
    }
    if not fill and given.get("secrets") == []:
        shown["secrets"] = []
    for name in ("runtime", "identitySettings"):
        if given.get(name):
            shown[name] = given[name]
    return shown


def ingress(sent: Body, *, fill: bool) -> Body:
    transport, traffic = sent.get("transport"), sent.get("traffic")
    default = [{"weight": 100, "latestRevision": True}] if fill else None
    return {
        "fqdn": None,
        "external": bool(sent.get("external")),
        "targetPort": sent.get("targetPort") if sent.get("targetPort") is not None else (0 if fill else None),
        "exposedPort": sent.get("exposedPort") if sent.get("exposedPort") is not None else (0 if fill else None),
        "transport": _TRANSPORTS.get(str(transport).lower(), transport) if transport else ("Auto" if fill else None),
        "traffic": [_weight(entry) for entry in traffic] if traffic else default,
        "customDomains": sent.get("customDomains"),
        "allowInsecure": bool(sent.get("allowInsecure")),
        "ipSecurityRestrictions": sent.get("ipSecurityRestrictions"),
        "corsPolicy": sent.get("corsPolicy"),
        "clientCertificateMode": sent.get("clientCertificateMode"),
        "stickySessions": sent.get("stickySessions"),
        "additionalPortMappings": sent.get("additionalPortMappings"),
    }


def template(sent: Body | None, *, fill: bool) -> Body:
    """`properties.template`; `revisionSuffix` stays what was given, empty when nothing was."""
    given = sent or {}
    first = given.get("initContainers") or None
    return {
        "revisionSuffix": given.get("revisionSuffix") or ("" if fill else None),
        "terminationGracePeriodSeconds": given.get("terminationGracePeriodSeconds"),
        "containers": [_container(entry, fill=fill) for entry in given.get("containers") or []],
        "initContainers": [_container(entry, fill=fill) for entry in first] if first else None,
        "scale": _scale(given.get("scale"), fill=fill),
        "volumes": [_without_nulls(entry) for entry in given.get("volumes") or []] or None,
        "serviceBinds": given.get("serviceBinds") or None,
    }


def substance(sent: Body, profile: str | None) -> Body:
    """What makes a revision: the filled template without its suffix, and the profile it runs on."""
    return {**sent, "revisionSuffix": "", "workloadProfileName": profile}


def revision_template(filled: Body) -> Body:
    """The template as a revision shows it: probes always there, ephemeralStorage never."""
    shown = {**filled, "revisionSuffix": None}
    for name in ("containers", "initContainers"):
        entries = [{"probes": [], **entry} for entry in filled.get(name) or []]
        for entry in entries:
            entry["resources"] = {key: value for key, value in entry["resources"].items() if key != "ephemeralStorage"}
        shown[name] = entries or None
    return shown


def secrets(sent: Body | None) -> list[Body]:
    """The secrets with their values, for the private part of the record."""
    return [_without_nulls(entry) for entry in (sent or {}).get("secrets") or []]


def identity(sent: Body | None) -> Body:
    if not sent or str(sent.get("type") or "None").lower() == "none":
        return {"type": "None"}
    kinds = [part.strip() for part in str(sent["type"]).split(",")]
    shown: Body = {"type": ", ".join(kinds)}
    if sent.get("userAssignedIdentities"):
        shown["userAssignedIdentities"] = sent["userAssignedIdentities"]
    return shown


def _container(sent: Body, *, fill: bool) -> Body:
    shown: Body = {"image": sent.get("image"), "name": sent.get("name")}
    for name in ("command", "args", "probes", "volumeMounts"):
        if sent.get(name):
            shown[name] = [_without_nulls(entry) if isinstance(entry, dict) else str(entry) for entry in sent[name]]
    if sent.get("env"):
        shown["env"] = [_without_nulls(entry) for entry in sent["env"]]
    if sent.get("resources") or fill:
        shown["resources"] = _resources(sent.get("resources") or {})
    return shown


def _resources(sent: Body) -> Body:
    cpu = float(sent.get("cpu") or 0.5)
    memory = str(sent.get("memory") or "1Gi")
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)Gi", memory):
        memory = f"{float(match[1]):g}Gi"
    disk = "1Gi" if cpu <= 0.25 else "2Gi" if cpu <= 0.5 else "4Gi" if cpu <= 1 else "8Gi"
    return {"cpu": int(cpu) if cpu.is_integer() else cpu, "memory": memory, "ephemeralStorage": disk}


def _scale(sent: Body | None, *, fill: bool) -> Body | None:
    if not fill:
        return {name: (sent or {}).get(name) for name in ("minReplicas", "maxReplicas", "rules")} if sent else None
    given = sent or {}
    return {
        "minReplicas": given.get("minReplicas"),
        "maxReplicas": _number(given.get("maxReplicas"), 10),
        "rules": [_rule(entry) for entry in given.get("rules") or []] or None,
        "cooldownPeriod": _number(given.get("cooldownPeriod"), 300),
        "pollingInterval": _number(given.get("pollingInterval"), 30),
    }


def _rule(sent: Body) -> Body:
    """A scale rule names its own kind alone; a client's explicit nulls for the others are not kept."""
    return {name: _without_nulls(value) if isinstance(value, dict) else value for name, value in _without_nulls(sent).items()}


def _weight(sent: Body) -> Body:
    shown: Body = {"revisionName": sent.get("revisionName"), "weight": int(sent.get("weight") or 0)}
    shown |= {"latestRevision": True} if sent.get("latestRevision") else {}
    return _without_nulls({**shown, "label": sent.get("label")})


def _secret_name(sent: Body) -> Body:
    return {key: sent[key] for key in ("name", "keyVaultUrl", "identity") if sent.get(key)}


def _registry(sent: Body) -> Body:
    return {name: sent.get(name) or "" for name in ("server", "username", "passwordSecretRef", "identity")}


def _number(value: Any, default: int) -> int:
    return default if value is None else int(value)


def _without_nulls(entry: Body) -> Body:
    return {key: value for key, value in entry.items() if value is not None}
