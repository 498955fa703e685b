"""A restless Azure: a seeded mix of errors, resets, failing operations and late lists, and the
daemon still comes to the same end.
"""

import json
from collections import Counter

import pytest

from tests.e2e.inside import inside
from tests.e2e.stage import ask, environment, is_converged, service

MIX = [
    {"fault": "Throttle", "plane": "arm", "retryAfter": 1, "probability": 0.02},
    {"fault": "Throttle", "plane": "arm", "probability": 0.02},
    {"fault": "Error", "status": 500, "plane": "arm", "probability": 0.03},
    {"fault": "Error", "status": 503, "plane": "arm", "probability": 0.02},
    {
        "fault": "Error",
        "status": 502,
        "plane": "arm",
        "operation": "*/locations/*",
        "probability": 0.1,
    },
    {"fault": "Throttle", "plane": "files", "probability": 0.03},
    {"fault": "ResetBefore", "plane": "files", "probability": 0.02},
    {"fault": "ResetAfter", "plane": "arm", "method": "PUT", "probability": 0.1},
    {"fault": "ResetAfter", "plane": "arm", "method": "PATCH", "probability": 0.2},
    {"fault": "ResetBefore", "plane": "arm", "probability": 0.02},
    {"fault": "Conflict", "plane": "arm", "method": "PATCH", "probability": 0.2},
    {"fault": "ExpiredToken", "plane": "arm", "probability": 0.01},
    {"fault": "StaleList", "plane": "arm", "probability": 0.5, "seconds": 1},
    {"fault": "Slow", "plane": "arm", "probability": 0.03, "seconds": 0.3},
    {"fault": "Error", "plane": "login", "status": 503, "probability": 0.2},
]


def documents(colour):
    return environment("dev"), service(
        "web", environment="dev", env=[{"name": "COLOUR", "value": colour}]
    )


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 9))]
)
async def test_a_restless_azure_leads_to_the_same_end(make_stage, seed):
    """From nothing to a service and on to its next version under the mix; then all is right,
    served, and there once.
    """
    stage = make_stage()
    stage.code("web")
    stage.save(*documents("red"))
    stage.script(*MIX, seed=seed)
    up = stage.up(resync=2)
    await up.converged("web", "dev", seconds=100)
    stage.save(*documents("green"))
    await up.settled_on("web", seconds=100, colour="green")
    up.end()
    stage.script()
    before = len(stage.journal())
    stage.once("-y")
    assert stage.writes(since=before) == []
    assert_there_once(stage)
    web = stage.document("web")
    assert [(r["trafficWeight"], r["serving"]) for r in web["revisions"]] == [(100, True)]
    assert ask(web["endpoint"], stage.ca)["colour"] == "green"


def assert_there_once(stage):
    """No resource was created twice: a create is a 201 or 202, except for an environment or app,
    whose updates are 201, too.
    """
    created = Counter()
    for entry in stage.journal():
        if entry["plane"] == "arm" and entry["method"] == "PUT" and entry["status"] in (201, 202):
            created[entry["path"].lower()] += 1
    # A cut connection is not seen as an answer, so that very write may be sent once more; that is
    # no second resource.
    cut = Counter(
        e["path"].lower()
        for e in stage.journal()
        if any(f.startswith("ResetAfter") for f in e.get("faults", ()))
    )
    assert {path: count for path, count in created.items() if count > 1 + cut[path]} == {}


OPERATIONS = [
    (
        {"fault": "OperationFails", "operation": "Microsoft.Storage/storageAccounts", "times": 1},
        "an account is not made",
    ),
    (
        {
            "fault": "OperationFails",
            "operation": "Microsoft.App/managedEnvironments",
            "times": 1,
            "seconds": 0.5,
        },
        "an environment fails late",
    ),
    (
        {
            "fault": "OperationDeceives",
            "operation": "Microsoft.App/managedEnvironments",
            "times": 1,
        },
        "an environment is Failed behind a success",
    ),
    (
        {"fault": "OperationFails", "operation": "Microsoft.App/containerApps", "times": 1},
        "an app's revision fails",
    ),
    (
        {"fault": "OperationCanceled", "operation": "Microsoft.App/containerApps", "times": 1},
        "an app's operation is canceled",
    ),
    (
        {
            "fault": "OperationHangs",
            "operation": "Microsoft.App/containerApps",
            "times": 1,
            "seconds": 3,
        },
        "an app's operation hangs",
    ),
    (
        {
            "fault": "EnvironmentFails",
            "operation": "Microsoft.App/managedEnvironments/storages",
            "method": "PUT",
            "times": 1,
        },
        "an environment turns Failed",
    ),
]
FAST = {"an environment fails late", "an app's revision fails"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(*case, id=case[-1], marks=() if case[-1] in FAST else pytest.mark.slow)
        for case in OPERATIONS
    ],
)
async def test_an_operation_that_ends_badly_is_done_again(make_stage, fault, reason):
    """The failure is told, the write is issued again, and the service comes up."""
    stage = make_stage()
    stage.code("web")
    stage.save(*documents("red"))
    stage.script(fault)
    async with inside(stage, "dev") as up:
        await up.until(lambda: serves(up, "red"), "web serves", 100)
    listed = json.loads(stage.moorage("local-azure", "faults", "list", "-o", "json").stdout)
    assert listed["faults"][0]["hit"] == 1
    before = len(stage.journal())
    async with inside(stage, "dev") as again:
        assert await again.settled() == 0
    assert stage.writes(since=before) == []


def serves(up, colour):
    """Ready and in sync with one revision, which answers as the document says."""
    web = up.document("web")
    if web is None or not is_converged(web) or len(web["revisions"]) != 1:
        return False
    return ask(web["endpoint"], up.stage.ca)["colour"] == colour
