"""The fields of both kinds of document, out of the JSON schema, as docs/documents.md shows them.

`python -m tests.docs.fields` writes the tables of docs/documents.md again; the text around them
stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.api.schema import json_schema

PAGE = Path(__file__).parents[2] / "docs" / "documents.md"
BEGIN, END = "<!-- fields of {} -->", "<!-- end -->"

HOT, REVISION, NOTHING, REFUSED = "hot", "new revision", "nothing", "refused"
OTHER = "another object"  # the old one is then one whose document went
NEVER = "stops half way"
EFFECTS: Mapping[str, Mapping[str, str]] = {
    "Environment": {
        "metadata.name": REFUSED,
        "spec.subscriptionId": REFUSED,
        "spec.owner": HOT,
        "spec.resourceGroup": REFUSED,
        "spec.location": REFUSED,
        "spec.tags": HOT,
        "spec.logAnalytics.name": REFUSED,
        "spec.logAnalytics.retentionInDays": HOT,
        "spec.storage.accountName": REFUSED,
        "spec.storage.shareName": NEVER,
        "spec.storage.quotaGiB": HOT,
        "spec.storage.sku": "waits for a person",
        "spec.managedEnvironment.name": REFUSED,
        "spec.managedEnvironment.storageName": REVISION,
        "spec.workloadProfiles": HOT,
        "spec.workloadProfiles[].name": HOT,
        "spec.workloadProfiles[].workloadProfileType": HOT,
        "spec.workloadProfiles[].minimumCount": HOT,
        "spec.workloadProfiles[].maximumCount": HOT,
        "spec.gateway.name": OTHER,
        "spec.gateway.minReplicas": REVISION,
        "spec.gateway.cpu": REVISION,
        "spec.gateway.external": HOT,
        "spec.gateway.hold.seconds": REVISION,
        "spec.gateway.hold.maxRequests": HOT,
        **{
            f"spec.gateway.{field}": HOT
            for field in (
                "fallback",
                "entra.audience",
                "entra.tenant",
                "entra.allow",
                "apiKeys",
                "apiKeys[].name",
                "apiKeys[].models",
                "apiKeys[].rateLimit.requestsPerMinute",
                "apiKeys[].rateLimit.tokensPerMinute",
                "apiKeys[].rateLimit.parallelRequests",
                "apiKeys[].limits.promptTokens",
                "apiKeys[].limits.outputTokens",
                "apiKeys[].limits.sequences",
                "apiKeys[].evaluation",
                "apiKeys[].admin",
                "corsPolicy.allowedOrigins",
                "corsPolicy.allowedMethods",
                "corsPolicy.allowedHeaders",
                "corsPolicy.exposeHeaders",
                "corsPolicy.maxAge",
                "corsPolicy.allowCredentials",
            )
        },
    },
    "InferenceService": {
        "metadata.name": OTHER,
        "spec.environment": REFUSED,
        "spec.model.source": REVISION,
        "spec.adapters[].name": HOT,
        "spec.adapters[].source": HOT,
        "spec.adapters[].required": HOT,
        "spec.adapters[].evaluation": HOT,
        "spec.adapters[].shutdownDate": HOT,
        "spec.adapters[].canary.source": HOT,
        "spec.adapters[].canary.weight": HOT,
        "spec.adapters[].canary.evaluation": HOT,
        "spec.adapters[].canary.maxErrorRate": HOT,
        "spec.adapters[].canary.promoteAfter": HOT,
        "spec.code": REVISION,
        "spec.command": REVISION,
        "spec.args": REVISION,
        "spec.targetPort": REVISION,
        "spec.mountPath": REVISION,
        "spec.mounts[].source": REVISION,
        "spec.mounts[].mountPath": REVISION,
        "spec.progressDeadlineSeconds": REVISION,
        "spec.engine.image": REVISION,
        "spec.engine.args": REVISION,
        "spec.engine.readers": REVISION,
        "spec.engine.compileCache": REVISION,
        "spec.env[].name": REVISION,
        "spec.env[].value": REVISION,
        "spec.env[].valueFrom.secretRef": REVISION,
        "spec.secrets[].name": HOT,
        "spec.secrets[].valueFrom.file": REVISION,
        "spec.secrets[].valueFrom.env": REVISION,
        "spec.secrets[].keyVaultUrl": REVISION,
        "spec.secrets[].identity": HOT,
        "spec.identity.type": HOT,
        "spec.identity.userAssignedIdentities": HOT,
        "spec.registries[].server": HOT,
        "spec.registries[].username": HOT,
        "spec.registries[].passwordSecretRef": HOT,
        "spec.registries[].identity": HOT,
        "spec.resources.cpu": REVISION,
        "spec.resources.memory": REVISION,
        "spec.workloadProfileName": REVISION,
        "spec.scale.minReplicas": REVISION,
        "spec.scale.maxReplicas": REVISION,
        "spec.scale.concurrentRequests": REVISION,
        "spec.scale.cooldownPeriod": REVISION,
        "spec.scale.schedules[].start": REVISION,
        "spec.scale.schedules[].end": REVISION,
        "spec.scale.schedules[].minReplicas": REVISION,
        "spec.scale.schedules[].timezone": REVISION,
        "spec.ingress.external": HOT,
        "spec.auth.apiKeys": HOT,
        "spec.auth.apiKeys[].name": HOT,
        "spec.auth.apiKeys[].models": HOT,
        "spec.ingress.corsPolicy.allowedOrigins": HOT,
        "spec.ingress.corsPolicy.allowedMethods": HOT,
        "spec.ingress.corsPolicy.allowedHeaders": HOT,
        "spec.ingress.corsPolicy.exposeHeaders": HOT,
        "spec.ingress.corsPolicy.maxAge": HOT,
        "spec.ingress.corsPolicy.allowCredentials": HOT,
        "spec.auth.apiKeys[].rateLimit.requestsPerMinute": HOT,
        "spec.auth.apiKeys[].rateLimit.tokensPerMinute": HOT,
        "spec.auth.apiKeys[].rateLimit.parallelRequests": HOT,
        "spec.auth.apiKeys[].limits.promptTokens": HOT,
        "spec.auth.apiKeys[].limits.outputTokens": HOT,
        "spec.auth.apiKeys[].limits.sequences": HOT,
        "spec.auth.apiKeys[].evaluation": HOT,
        "spec.auth.apiKeys[].admin": HOT,
        "spec.limits.bodyMiB": HOT,
        "spec.limits.promptTokens": HOT,
        "spec.limits.outputTokens": HOT,
        "spec.limits.sequences": HOT,
        "spec.limits.messages": HOT,
        "spec.limits.tools": HOT,
        "spec.limits.schemaKiB": HOT,
        "spec.limits.schemaParts": HOT,
        "spec.limits.mediaMiB": HOT,
        "spec.limits.mediaDomains": HOT,
        "spec.limits.parallelRequests": HOT,
        "spec.limits.requestsPerMinute": HOT,
        "spec.limits.tokensPerMinute": HOT,
        "spec.requestLog.prompts": HOT,
        "spec.terminationGracePeriodSeconds": REVISION,
    },
}


class Field(NamedTuple):
    """A leaf of a document: its path with `[]` for the items of a list, its default and its
    description.
    """

    path: str
    default: str
    description: str


def fields(kind: str) -> list[Field]:
    """The fields of `kind` in the schema's order, `kind` itself left out."""
    schema = json_schema()
    return [
        field for field in _walk(schema, {"$ref": f"#/$defs/{kind}"}, "") if field.path != "kind"
    ]


def effect(kind: str, path: str) -> str:
    """What follows from changing a field, in one of the words that docs/documents.md explains."""
    return EFFECTS[kind].get(path, NOTHING)


def table(kind: str) -> str:
    """The fields of `kind` as a Markdown table."""
    rows = [
        f"| `{f.path}` | {f.default} | {f.description} | {effect(kind, f.path)} |"
        for f in fields(kind)
    ]
    return "\n".join(["| field | default | meaning | a change is |", "|---|---|---|---|", *rows])


def with_tables(page: str) -> str:
    """`page` with the tables as they are now."""
    for kind in EFFECTS:
        head, begin, rest = page.partition(BEGIN.format(kind))
        assert begin, f"docs/documents.md has no place for the fields of {kind}"
        page = f"{head}{begin}\n{table(kind)}\n{END}{rest.partition(END)[2]}"
    return page


def _walk(schema: Mapping[str, Any], node: Mapping[str, Any], path: str) -> Iterator[Field]:
    """Leaves only: an object with named properties stands for them."""
    for name, given in _resolved(schema, node).get("properties", {}).items():
        here, inner = f"{path}.{name}".lstrip("."), _resolved(schema, given)
        item = _resolved(schema, inner.get("items", {}))
        if inner.get("properties"):
            yield from _walk(schema, inner, here)
        elif item.get("properties"):
            if inner.get("default") not in ([], None) or "workloadProfiles" in here:
                yield _field(here, inner, _resolved(schema, node))
            yield from _walk(schema, item, f"{here}[]")
        else:
            yield _field(here, inner, _resolved(schema, node))


def _field(path: str, node: Mapping[str, Any], parent: Mapping[str, Any]) -> Field:
    required = path.rpartition(".")[2] in parent.get("required", ())
    default = node.get("default")
    shown = (
        "required"
        if required
        else ""
        if default in (None, [], {})
        else f"`{json.dumps(default).strip(chr(34))}`"
    )
    return Field(path, shown, str(node.get("description", "")).replace("|", "\\|"))


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """Follow a reference, and the one choice that is not null; what stands beside it wins."""
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        node = {**choices[0], **{key: value for key, value in node.items() if key != "anyOf"}}
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        node = {
            **schema["$defs"][name],
            **{key: value for key, value in node.items() if key != "$ref"},
        }
        return _resolved(schema, node)
    return dict(node)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
