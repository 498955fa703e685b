"""docs/documents.md: every field with its default, and what its last column says is what
composition does.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.api.digest import File, Tree
from reconciler.api.evaluation import read_evaluation
from reconciler.api.manifest import load
from reconciler.api.source import SourceRef
from reconciler.composition import compose
from reconciler.composition.world import World
from tests.docs.fields import (
    EFFECTS,
    HOT,
    LATER,
    NEVER,
    NOTHING,
    OTHER,
    PAGE,
    REFUSED,
    REVISION,
    effect,
    fields,
    with_tables,
)

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
RUNTIME = Tree("a" * 64, {"serving/__init__.py": File(1, "b" * 64, Path("x"))})
# How to change each field: its path in the document, and a value that differs from BEFORE.
BEFORE = {
    "Environment": {
        "kind": "Environment",
        "metadata": {"name": "dev"},
        "spec": {
            "workloadProfiles": [
                {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"},
                {"name": "big", "workloadProfileType": "D4", "minimumCount": 1, "maximumCount": 2},
            ],
            "gateway": {
                "apiKeys": [{"name": "default"}],
                "corsPolicy": {"allowedOrigins": ["https://b.example"]},
                "entra": {
                    "audience": "api://moorage",
                    "tenant": "00000000-0000-0000-0000-000000000001",
                },
            },
        },
    },
    "chat": {
        "kind": "InferenceService",
        "metadata": {"name": "chat"},
        "spec": {"environment": "dev", "model": {"source": "share://m"}},
    },
    "model": {
        "kind": "InferenceService",
        "metadata": {"name": "phi"},
        "spec": {
            "environment": "dev",
            "model": {"source": "share://m"},
            "workloadProfileName": "gpu",
            "adapters": [
                {
                    "name": "a",
                    "source": "share://a",
                    "evaluation": "one.jsonl",
                    "canary": {"source": "share://b"},
                }
            ],
            "env": [{"name": "A", "value": "1"}],
            "scale": {
                "maxReplicas": 2,
                "schedules": [{"start": "0 7 * * 1-5", "end": "0 19 * * 1-5"}],
            },
            "auth": {"apiKeys": [{"name": "default"}]},
            "ingress": {"corsPolicy": {"allowedOrigins": ["https://b.example"]}},
        },
    },
    "code": {
        "kind": "InferenceService",
        "metadata": {"name": "web"},
        "spec": {
            "environment": "dev",
            "code": "share://c",
            "command": ["run"],
            "args": ["one"],
            "targetPort": 80,
            "mounts": [{"source": "share://m", "mountPath": "/m"}],
            "rollout": {"steps": [{"weight": 10, "evaluation": "one.jsonl"}]},
        },
    },
}
CHANGES = {
    "Environment": {
        "apiVersion": "moorage.dev/v1alpha1",
        "metadata.name": "other",
        "metadata.labels": {"team": "one"},
        "metadata.annotations": {"note": "one"},
        "spec.owner": "team",
        "spec.subscriptionId": "00000000-0000-0000-0000-000000000002",
        "spec.resourceGroup": "rg",
        "spec.location": "westeurope",
        "spec.tags": {"cost": "1"},
        "spec.logAnalytics.name": "logs",
        "spec.logAnalytics.retentionInDays": 60,
        "spec.storage.accountName": "stother",
        "spec.storage.shareName": "other",
        "spec.storage.quotaGiB": 200,
        "spec.storage.sku": "Standard_ZRS",
        "spec.managedEnvironment.name": "cae",
        "spec.managedEnvironment.storageName": "mount",
        "spec.workloadProfiles": [
            {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}
        ],
        "spec.workloadProfiles[].name": "huge",
        "spec.workloadProfiles[].workloadProfileType": "D8",
        "spec.workloadProfiles[].minimumCount": 2,
        "spec.workloadProfiles[].maximumCount": 3,
        "spec.gateway.name": "gw",
        "spec.gateway.minReplicas": 2,
        "spec.gateway.cpu": 0.5,
        "spec.gateway.memory": "0.5Gi",
        "spec.gateway.external": False,
        "spec.gateway.hold.seconds": 60,
        "spec.gateway.hold.maxRequests": 60,
        "spec.gateway.fallback": {"phi": "chat"},
        "spec.gateway.entra.audience": "api://other",
        "spec.gateway.entra.tenant": "00000000-0000-0000-0000-000000000003",
        "spec.gateway.entra.allow": ["Models.Use"],
        "spec.gateway.apiKeys": [{"name": "default"}, {"name": "ci"}],
        "spec.gateway.apiKeys[].name": "ci",
        "spec.gateway.apiKeys[].models": ["a"],
        "spec.gateway.apiKeys[].rateLimit.requestsPerMinute": 60,
        "spec.gateway.apiKeys[].rateLimit.tokensPerMinute": 60,
        "spec.gateway.apiKeys[].rateLimit.parallelRequests": 6,
        "spec.gateway.apiKeys[].limits.promptTokens": 60,
        "spec.gateway.apiKeys[].limits.outputTokens": 60,
        "spec.gateway.apiKeys[].limits.sequences": 6,
        "spec.gateway.apiKeys[].evaluation": True,
        "spec.gateway.apiKeys[].admin": True,
        "spec.gateway.corsPolicy.allowedOrigins": ["https://a.example"],
        "spec.gateway.corsPolicy.allowedMethods": ["GET"],
        "spec.gateway.corsPolicy.allowedHeaders": ["authorization"],
        "spec.gateway.corsPolicy.exposeHeaders": ["x-request-id"],
        "spec.gateway.corsPolicy.maxAge": 600,
        "spec.gateway.corsPolicy.allowCredentials": True,
        "spec.syncPolicy.automated": False,
        "spec.syncPolicy.prune": True,
        "spec.reconcilePolicy": "Observe",
        "spec.deletionPolicy": "Retain",
    },
    "model": {
        "apiVersion": "moorage.dev/v1alpha1",
        "metadata.name": "other",
        "metadata.labels": {"team": "one"},
        "metadata.annotations": {"note": "one"},
        "spec.environment": "second",
        "spec.model.source": "share://other",
        "spec.adapters[].name": "z",
        "spec.adapters[].source": "share://other",
        "spec.adapters[].required": True,
        "spec.adapters[].evaluation": "other.jsonl",
        "spec.adapters[].shutdownDate": "2027-01-31",
        "spec.adapters[].canary.source": "share://other",
        "spec.adapters[].canary.weight": 20,
        "spec.adapters[].canary.evaluation": "other.jsonl",
        "spec.adapters[].canary.maxErrorRate": 0.5,
        "spec.adapters[].canary.promoteAfter": "1h",
        "spec.engine.image": "docker.io/vllm/vllm-openai@sha256:" + "0" * 64,
        "spec.engine.args": {"max-model-len": 64},
        "spec.engine.allow": ["trust-remote-code"],
        "spec.engine.readers": 4,
        "spec.engine.compileCache": False,
        "spec.env[].name": "B",
        "spec.env[].value": "2",
        "spec.resources.cpu": 2.0,
        "spec.resources.memory": "8Gi",
        "spec.workloadProfileName": "big",
        "spec.scale.minReplicas": 1,
        "spec.scale.maxReplicas": 3,
        "spec.scale.concurrentRequests": 3,
        "spec.scale.cooldownPeriod": 900,
        "spec.scale.schedules[].start": "30 6 * * 1-5",
        "spec.scale.schedules[].end": "30 20 * * 1-5",
        "spec.scale.schedules[].minReplicas": 2,
        "spec.scale.schedules[].timezone": "Europe/Stockholm",
        "spec.rollout.strategy": "Recreate",
        "spec.rollout.smoke.path": "/health",
        "spec.rollout.smoke.expectStatus": 200,
        "spec.ingress.external": False,
        "spec.auth.apiKeys": [{"name": "default"}, {"name": "ci"}],
        "spec.auth.apiKeys[].name": "ci",
        "spec.auth.apiKeys[].models": ["a"],
        "spec.ingress.corsPolicy.allowedOrigins": ["https://a.example"],
        "spec.ingress.corsPolicy.allowedMethods": ["GET"],
        "spec.ingress.corsPolicy.allowedHeaders": ["authorization"],
        "spec.ingress.corsPolicy.exposeHeaders": ["x-request-id"],
        "spec.ingress.corsPolicy.maxAge": 600,
        "spec.ingress.corsPolicy.allowCredentials": True,
        "spec.auth.apiKeys[].rateLimit.requestsPerMinute": 60,
        "spec.auth.apiKeys[].rateLimit.tokensPerMinute": 60,
        "spec.auth.apiKeys[].rateLimit.parallelRequests": 6,
        "spec.auth.apiKeys[].limits.promptTokens": 60,
        "spec.auth.apiKeys[].limits.outputTokens": 60,
        "spec.auth.apiKeys[].limits.sequences": 6,
        "spec.auth.apiKeys[].evaluation": True,
        "spec.auth.apiKeys[].admin": True,
        "spec.limits.bodyMiB": 1,
        "spec.limits.promptTokens": 100,
        "spec.limits.outputTokens": 100,
        "spec.limits.sequences": 1,
        "spec.limits.messages": 100,
        "spec.limits.tools": 10,
        "spec.limits.schemaKiB": 1,
        "spec.limits.schemaParts": 100,
        "spec.limits.mediaMiB": 1,
        "spec.limits.mediaDomains": ["a.example"],
        "spec.limits.parallelRequests": 16,
        "spec.limits.requestsPerMinute": 600,
        "spec.limits.tokensPerMinute": 60000,
        "spec.requestLog.prompts": True,
        "spec.reconcilePolicy": "Skip",
        "spec.adoptionPolicy": "AdoptOrCreate",
        "spec.deletionPolicy": "Retain",
        "spec.terminationGracePeriodSeconds": 90,
    },
    "code": {
        "spec.code": "share://d",
        "spec.command": ["walk"],
        "spec.args": ["two"],
        "spec.targetPort": 81,
        "spec.mountPath": "/code",
        "spec.mounts[].source": "share://n",
        "spec.mounts[].mountPath": "/n",
        "spec.progressDeadlineSeconds": 600,
        "spec.rollout.steps[].weight": 20,
        "spec.rollout.steps[].pause": "10m",
        "spec.rollout.steps[].evaluation": "other.jsonl",
    },
}
CASES = [
    (what, path, value) for what, changes in CHANGES.items() for path, value in changes.items()
]


def test_the_tables_are_the_schema():
    """Every field, default and description of the page is the schema's; `python -m
    tests.docs.fields` writes them.
    """
    assert PAGE.read_text() == with_tables(PAGE.read_text())


@pytest.mark.parametrize("kind", EFFECTS)
def test_every_field_has_a_case_here_and_no_effect_is_of_a_field_that_is_gone(kind):
    """A new field cannot come without somebody trying what a change of it does."""
    known = {field.path for field in fields(kind)}
    tried = CHANGES[kind] if kind in CHANGES else CHANGES["model"] | CHANGES["code"]
    assert known == set(tried)
    assert set(EFFECTS[kind]) <= known


@pytest.mark.parametrize(
    ("what", "path", "value"), CASES, ids=[f"{what} {path}" for what, path, _ in CASES]
)
def test_a_change_is_what_the_page_says(tmp_path, what, path, value):
    """The word in the last column is what composition makes of the change."""
    documents = deepcopy(BEFORE)
    before = _composed(tmp_path, documents)
    _put(documents[what], path, value)
    after = _composed(tmp_path, documents)

    said = effect("Environment" if what == "Environment" else "InferenceService", path)
    assert _word(before, after, what) == (NOTHING if said == LATER else said)


def _composed(tmp_path, documents):
    file = tmp_path / "documents.yaml"
    services = [documents["model"], documents["code"], documents["chat"]]
    name, second = (
        documents["Environment"]["metadata"]["name"],
        {"kind": "Environment", "metadata": {"name": "second"}},
    )
    for service in services:
        if name != "dev":
            service["spec"]["environment"] = name
    with file.open("w") as out:
        YAML().dump_all([documents["Environment"], second, *services], out)
    # Adapters on the share are mirrored before composition, so they are folders here.
    fetched = {
        SourceRef(service["spec"]["environment"], f"share://{each}"): Path("/cache", each)
        for service in services
        for each in ("a", "b", "other")
    }
    files = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    for evaluation in files:
        evaluation.write_text(f'{{"prompt": "{evaluation.stem}", "expect": "x"}}')
    evaluations = {each: read_evaluation(each, []) for each in files}
    trees = {folder: Tree(folder.name[0] * 64, RUNTIME.files) for folder in fetched.values()}
    homes = {"phi": "dev", "web": "dev", "chat": "dev"}
    world = World(
        SUBSCRIPTION,
        "swedencentral",
        lambda name: documents["Environment"]["spec"].get("owner", f"{name}-owner"),
        RUNTIME,
        trees=trees,
        homes=homes,
        fetched=fetched,
        gateway=RUNTIME,
    )
    return compose(load([file]).documents, replace(world, evaluations=evaluations))


def _put(node, path, value):
    *parents, last = path.replace("[]", ".-1").split(".")
    for part in parents:
        node = node[-1] if part == "-1" else node.setdefault(part, {})
    node[last] = value


def _word(before, after, what):
    """What a difference between two compositions means to what runs."""
    kinds = ("Environment",) if what == "Environment" else ("InferenceService",)
    mine = {"Environment": "dev", "model": "phi", "code": "web"}[what]
    old, new = (
        {d.key: d for d in each.desired if d.document.kind in kinds} for each in (before, after)
    )
    if not any(d.document.name == mine for d in new.values()):
        return REFUSED if {str(r) for r in after.refusals} & {f"{kinds[0]}/{mine}"} else OTHER
    suffixes = [
        {d.key: d.spec.suffix for d in each.desired if d.key.kind == "ContainerApp"}
        for each in (before, after)
    ]
    if suffixes[0].keys() != suffixes[1].keys():
        return OTHER
    if suffixes[0] != suffixes[1]:
        return REVISION
    pairs = [(_written(old[key]), _written(new[key])) for key in old if key in new]
    for field, word in (("resource_group", REFUSED), ("name", None)):
        moved = [
            one.key.kind
            for one, other in pairs
            if getattr(one.spec, field, None) != getattr(other.spec, field, None)
        ]
        if moved:
            return word or (NEVER if "FileShare" in moved else REFUSED)
    if any(_location(one) != _location(other) for one, other in pairs):
        return REFUSED
    changed = [pair for pair in pairs if pair[0].spec != pair[1].spec]
    if any(
        one.key.kind == "StorageAccount" and one.spec.body["sku"] != other.spec.body["sku"]
        for one, other in changed
    ):
        return "waits for a person"
    return HOT if changed or old.keys() != new.keys() else _policy(pairs)


def _written(item):
    """How a rollout goes, and whether an app may be taken over, is in no write of its own."""
    return (
        replace(
            item,
            spec=replace(item.spec, strategy="Auto", steps=(), smoke=("/", None), named=False),
        )
        if item.key.kind == "ContainerApp"
        else item
    )


def _policy(pairs):
    """A policy is in the desired objects and in no spec: the daemon follows it, Azure never hears
    of it.
    """
    assert all(
        replace(one, policy=other.policy, retain=other.retain) == other for one, other in pairs
    )
    return NOTHING


def _location(item):
    return getattr(item.spec, "body", {}).get("location")
