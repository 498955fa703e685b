"""`az containerapp job` and `az deployment` against the local Azure."""

import json
import time
from pathlib import Path

import pytest

from .conftest import IMAGE, Az

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _ended(az: Az, group: str, job: str, execution: str) -> str:
    """The status of an execution once it has one to stay."""
    for _ in range(60):
        status = az(
            f"containerapp job execution show -n {job} -g {group} --job-execution-name {execution}"
        )["properties"]["status"]
        if status not in {"Running", "Processing", "Unknown"}:
            return status
        time.sleep(0.3)
    pytest.fail(f"{execution} did not end")


def test_a_job_runs_when_started(az: Az, group: str, environment: str) -> None:
    """A manual job is created, started, listed with its execution's end, updated and deleted."""
    where = f"-n job -g {group}"
    created = az(
        f"containerapp job create {where} --environment {environment} --image {IMAGE}"
        " --trigger-type Manual --replica-timeout 60 --replica-retry-limit 0 --parallelism 1"
        " --replica-completion-count 1 --command python3 --secrets a=1 --env-vars A=secretref:a",
        "--args",
        "-cimport os; print('job', os.environ['A'], flush=True)",
    )
    assert created["properties"]["provisioningState"] == "Succeeded"
    started = az(f"containerapp job start {where}")["name"]
    assert _ended(az, group, "job", started) == "Succeeded"
    assert [entry["name"] for entry in az(f"containerapp job execution list {where}")] == [started]
    assert (
        az(f"containerapp job update {where} --replica-timeout 90")["properties"]["configuration"][
            "replicaTimeout"
        ]
        == 90
    )
    assert {entry["name"] for entry in az(f"containerapp job list -g {group}")} == {"job"}
    assert az(f"containerapp job secret list {where}")[0]["name"] == "a"
    az(f"containerapp job secret set {where} --secrets b=2")
    assert az(f"containerapp job secret show {where} --secret-name b")["value"] == "2"
    az(f"containerapp job delete {where} -y")
    assert "ResourceNotFound" in az.refused(f"containerapp job show {where}")


def test_a_running_execution_is_stopped(az: Az, group: str, environment: str) -> None:
    """`job stop` ends one execution, which then says so; a schedule is shown as it was given."""
    where = f"-n long -g {group}"
    az(
        f"containerapp job create {where} --environment {environment} --image {IMAGE}"
        " --trigger-type Manual --replica-timeout 300 --replica-retry-limit 0 --command python3",
        "--args",
        "-cimport time; time.sleep(200)",
    )
    started = az(f"containerapp job start {where}")["name"]
    az(f"containerapp job stop {where} --job-execution-name {started}")
    assert _ended(az, group, "long", started) == "Stopped"
    az(f"containerapp job delete {where} -y")
    scheduled = az(
        f"containerapp job create -n nightly -g {group} --environment {environment} --image {IMAGE}"
        " --trigger-type Schedule --replica-timeout 60 --replica-retry-limit 0 --cron-expression",
        "0 3 * * *",
    )
    assert (
        scheduled["properties"]["configuration"]["scheduleTriggerConfig"]["cronExpression"]
        == "0 3 * * *"
    )
    az(f"containerapp job delete -n nightly -g {group} -y")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """What Bicep compiles to, in small: a storage account with a share, parameters and outputs."""
    account = {
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2023-05-01",
        "name": "[parameters('name')]",
        "location": "[resourceGroup().location]",
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "properties": {},
    }
    share = {
        "type": "Microsoft.Storage/storageAccounts/fileServices/shares",
        "apiVersion": "2023-05-01",
        "name": "[format('{0}/default/{1}', parameters('name'), 'data')]",
        "properties": {"shareQuota": 5},
        "dependsOn": ["[resourceId('Microsoft.Storage/storageAccounts', parameters('name'))]"],
    }
    path = tmp_path / "main.json"
    body = {
        "$schema": (
            "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
        ),
        "contentVersion": "1.0.0.0",
        "parameters": {"name": {"type": "string", "minLength": 3}},
        "resources": [account, share],
        "outputs": {
            "id": {
                "type": "string",
                "value": "[resourceId('Microsoft.Storage/storageAccounts', parameters('name'))]",
            }
        },
    }
    path.write_text(json.dumps(body, indent=2))
    return path


def test_a_template_is_checked_foreseen_and_deployed(az: Az, group: str, template: Path) -> None:
    """validate finds nothing wrong, what-if names both resources, create makes them and gives the
    outputs back.
    """
    given = f"-g {group} --template-file {template} --parameters name=stdeployed"
    assert (
        az(f"deployment group validate {given}")["properties"]["provisioningState"] == "Succeeded"
    )
    foreseen = az(f"deployment group what-if {given} --no-pretty-print")
    changes = {
        change["resourceId"].rsplit("/", 1)[-1]: change["changeType"]
        for change in foreseen["changes"]
    }
    assert (changes["stdeployed"], changes["data"]) == ("Create", "Create")
    done = az(f"deployment group create -n first {given}")["properties"]
    assert done["provisioningState"] == "Succeeded"
    assert done["outputs"]["id"]["value"].endswith(
        "/providers/Microsoft.Storage/storageAccounts/stdeployed"
    )
    assert (
        az(f"storage share-rm show -g {group} --storage-account stdeployed -n data")["shareQuota"]
        == 5
    )
    assert "first" in {entry["name"] for entry in az(f"deployment group list -g {group}")}
    assert (
        az(f"deployment group show -g {group} -n first")["properties"]["provisioningState"]
        == "Succeeded"
    )
    assert az(f"deployment operation group list -g {group} -n first")
    again = az(f"deployment group what-if {given} --no-pretty-print")
    assert {
        change["changeType"] for change in again["changes"] if "stdeployed" in change["resourceId"]
    } <= {"NoChange", "Ignore"}


def test_a_template_that_cannot_be_is_refused(az: Az, group: str, template: Path) -> None:
    """A missing parameter and a parameter out of its bounds are Azure's InvalidTemplate."""
    refusal = az.refused(
        f"deployment group create -g {group} --template-file {template} --parameters name=a"
    )
    assert "InvalidTemplate" in refusal
