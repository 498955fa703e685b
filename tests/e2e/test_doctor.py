"""`moorage doctor` and `moorage diagnose`: what stands in the way before the first write, and one
report when something is broken.
"""

import json

import pytest

from reconciler.cli.needed_actions import OPTIONAL, REQUIRED, allowed, missing
from tests.e2e.ground import ROOT
from tests.e2e.stage import Stage, environment, service

pytestmark = pytest.mark.e2e
ACTION = "Microsoft.App/containerApps/write"
DEFINITION = json.loads((ROOT / "infra" / "deploy" / "role-definition.json").read_text())


def grant(stage, actions):
    """Give the caller a role with these actions and no others."""
    (stage.root / "role.json").write_text(json.dumps({**DEFINITION, "Actions": actions}))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """An Azure whose caller has the documented role, and nothing more."""
    root = tmp_path_factory.mktemp("doctor")
    quota = ("--quota", "SubscriptionConsumptionNCA100Gpus=0")
    stage = Stage(root, *quota, "--role", str(root / "role.json"))
    grant(stage, DEFINITION["Actions"])
    stage.start_azure()
    stage.code("web")
    yield stage
    stage.close()


def results(stage, code=0):
    done = stage.moorage("doctor", "-o", "json", code=code)
    value = json.loads(done.stdout)
    assert value["kind"] == "Checkup"
    return {each["check"]: each for each in value["checks"]}


def test_nothing_stands_in_the_way_of_a_first_run(stage):
    """Every check has an answer, nothing is written, and what Azure does not say is called so."""
    stage.save(service("web"))
    since = len(stage.journal())
    found = results(stage)
    assert {"credential", "role", "provider", "region", "names"} <= found.keys()
    assert found["role"]["grade"] == "ok"
    assert {each["grade"] for each in found.values()} <= {"ok", "unknown"}
    assert stage.writes(since=since) == []
    assert "nothing was written" in stage.moorage("doctor").stdout


def test_a_name_that_another_has_is_told_before_the_first_write(stage):
    """The account exists in another resource group: exit code 4, with what to write instead."""
    stage.save(environment("default", storage={"accountName": "sttaken01"}), service("web"))
    stage.once()
    stage.save(
        environment("dev", resourceGroup="rg-other", storage={"accountName": "sttaken01"}),
        path=stage.root / "other.yaml",
    )
    done = stage.moorage("doctor", "-f", "other.yaml", code=4)
    assert "sttaken01 cannot be created" in done.stdout
    assert "what to do: write another spec.storage.accountName" in done.stdout


def test_a_missing_permission_is_told_before_the_first_write(stage):
    """By its name, with exit code 4, where a run needs it; with what is lost, where it does not. The
    run with the whole role, in the test above, was refused nothing.
    """
    assert [each for each in stage.journal() if each["status"] == 403] == []
    stage.save(service("web"))
    since = len(stage.journal())
    try:
        grant(stage, [each for each in DEFINITION["Actions"] if each != ACTION])
        refused = stage.moorage("doctor", code=4).stdout
        assert f"the identity may not: {ACTION}" in refused
        lost = "Microsoft.App/containerApps/revisions/restart/action"
        grant(stage, [each for each in DEFINITION["Actions"] if each != lost])
        told = stage.moorage("doctor", COLUMNS="300").stdout
        assert f"without {lost} `moorage restart` is refused" in told
    finally:
        grant(stage, DEFINITION["Actions"])
    assert stage.writes(since=since) == []


@pytest.mark.parametrize("action", DEFINITION["Actions"])
def test_each_action_of_the_role_is_missed_by_its_name(action):
    """And only that one: either a run needs it, or something beside the run does."""
    rest = [each for each in DEFINITION["Actions"] if each != action]
    required, lost = missing([{"actions": rest}], [])
    assert [each.lower() for each in (*required, *lost)] == [action.lower()]


def test_the_role_holds_what_is_looked_for():
    """No action is asked for that the documented role does not grant."""
    asked = {each.lower() for each in (*REQUIRED, *OPTIONAL)}
    assert asked == {each.lower() for each in DEFINITION["Actions"]}


def test_a_gpu_quota_of_zero_is_told(stage):
    """A model on a serverless GPU whose quota is used up: the quota's name is the remedy."""
    stage.save(
        {
            "apiVersion": "moorage.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": "phi"},
            "spec": {"model": {"source": "share://models/phi"}},
        },
        path=stage.root / "gpu.yaml",
    )
    done = stage.moorage("doctor", "-f", "gpu.yaml", code=4)
    assert "0 of 0 GPUs in use" in done.stdout
    assert "SubscriptionConsumptionNCA100Gpus" in done.stdout


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ([{"actions": ["*"], "notActions": []}], True),
        ([{"actions": ["*/read"]}], False),
        ([{"actions": ["*"], "notActions": ["Microsoft.App/*/write"]}], False),
        ([{"actions": ["*/read"]}, {"actions": ["microsoft.app/containerapps/*"]}], True),
        ([], False),
    ],
)
def test_an_action_is_allowed_as_azure_adds_roles_up(permissions, expected):
    """One role must allow it and not take it away; wildcards and case are Azure's."""
    assert allowed(ACTION, permissions) is expected


def test_a_report_holds_everything_but_secrets(stage):
    """Status, events, logs and the documents without values; no key, no id, not the home folder."""
    stage.save(
        environment("default", storage={"accountName": "sttaken01"}),
        service("web", env=[{"name": "TOKEN", "value": "hunter2"}]),
    )
    stage.once()
    report = stage.moorage("diagnose", "web", HOME=str(stage.root)).stdout
    for section in ("Versions", "Status", "Events", "Log of the daemon", "Logs of the replicas"):
        assert f"## {section}\n" in report
    assert "web serves on 1 of 1 replica" in report
    assert "Connecting to the container" in report
    for secret in ("hunter2", stage.facts["clientSecret"], stage.facts["subscriptionId"]):
        assert secret not in report
    assert str(stage.root) not in report


def test_a_report_is_made_without_anything_to_ask(stage, tmp_path):
    """No local Azure, no state, no documents: each part says that it is not available."""
    empty = Stage(tmp_path)
    report = empty.moorage("diagnose").stdout
    assert "(not available" in report or "(nothing)" in report
    assert "Traceback" not in report
