"""Random documents as a person writes them, for `test_inverse`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

NAMES = st.sampled_from(["COLOUR", "MODE", "a.b", "X_1"])
TEXT = st.text("aZ9 '\"#:\n{}é", max_size=6)
WORDS = st.lists(st.sampled_from(["a", "--b", "c d", "9", "true", "it's"]), min_size=1, max_size=4)


def maybe(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


SCHEDULE = st.fixed_dictionaries(
    {"start": st.sampled_from(["0 7 * * 1-5", "30 6 * * *"]), "end": st.just("0 19 * * *")},
    optional={
        "minReplicas": st.integers(1, 3),
        "timezone": st.sampled_from(["UTC", "Europe/Oslo"]),
    },
)
SCALE = maybe(
    minReplicas=st.integers(0, 3),
    maxReplicas=st.integers(3, 20),
    concurrentRequests=st.integers(1, 200),
    cooldownPeriod=st.integers(1, 4000),
    schedules=st.lists(SCHEDULE, min_size=1, max_size=2),
).filter(
    lambda scale: "maxReplicas" in scale or not (scale.get("minReplicas") or "schedules" in scale)
)
ENV = st.lists(
    st.fixed_dictionaries({"name": NAMES, "value": TEXT}), max_size=3, unique_by=lambda v: v["name"]
).filter(bool)
COMMON = {
    "scale": SCALE,
    "env": ENV,
    "ingress": maybe(external=st.booleans()),
    "terminationGracePeriodSeconds": st.integers(1, 600),
    "workloadProfileName": st.sampled_from(["Consumption", "gpu", "big"]),
}
ARGS = maybe(
    **{
        "max-model-len": st.integers(1, 9999),
        "dtype": st.sampled_from(["auto", "half"]),
        "enforce-eager": st.booleans(),
        "gpu-memory-utilization": st.sampled_from([0.5, 0.25]),
        "safetensors-load-strategy": st.sampled_from(["lazy", "prefetch"]),
        "middlewares": st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2),
    }
)
OPEN = st.just({"args": {"trust-remote-code": True}, "allow": ["trust-remote-code"]})
ENGINE = st.builds(
    lambda opened, more, args: {**more, **opened, "args": {**args, **opened.get("args", {})}},
    OPEN | st.just({}),
    maybe(readers=st.integers(0, 64), compileCache=st.booleans()),
    ARGS,
)
COMMON["resources"] = maybe(cpu=st.sampled_from([0.5, 2, 4.0]), memory=st.just("8Gi"))
MODELS = st.fixed_dictionaries(
    {"model": st.just({"source": "share://models/phi"})},
    optional={**COMMON, "engine": ENGINE},
)
USER = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
COMMON["identity"] = st.sampled_from(
    [
        {"type": "SystemAssigned"},
        {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {USER: {}}},
    ]
)
CODES = st.fixed_dictionaries(
    {
        "code": st.just("share://code/web"),
        "command": WORDS,
        "targetPort": st.integers(1, 65535),
    },
    optional={
        **COMMON,
        "args": WORDS,
        "engine": st.just({"image": "docker.io/x/y:1"}),
        "progressDeadlineSeconds": st.integers(10, 57600),
        "mountPath": st.just("/srv/code"),
        "mounts": st.just([{"source": "share://code/more", "mountPath": "/srv/more"}]),
    },
)
PROFILES = st.lists(
    st.sampled_from(
        [
            {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"},
            {
                "name": "big",
                "workloadProfileType": "D4",
                "minimumCount": 0,
                "maximumCount": 2,
            },
        ]
    ),
    min_size=2,
    max_size=2,
    unique_by=lambda profile: profile["name"],
)
ENVIRONMENTS = st.fixed_dictionaries(
    {"workloadProfiles": PROFILES},
    optional={
        "tags": st.dictionaries(st.sampled_from(["team", "Cost Center"]), TEXT, min_size=1),
        "logAnalytics": maybe(retentionInDays=st.integers(30, 730)),
        "storage": maybe(
            quotaGiB=st.integers(1, 4000), sku=st.sampled_from(["Standard_LRS", "Standard_GRS"])
        ),
    },
)
HEAD = {"apiVersion": "moorage.dev/v1alpha1"}


def documents(environment: Any, service: Any) -> list[dict[str, Any]]:
    spec = {"environment": "dev", **service}
    return [
        {**HEAD, "kind": "Environment", "metadata": {"name": "dev"}, "spec": environment},
        {**HEAD, "kind": "InferenceService", "metadata": {"name": "phi"}, "spec": spec},
    ]


def text_of(written: list[dict[str, Any]]) -> str:
    return "\n---\n".join(json.dumps(each, indent=1) for each in written)
