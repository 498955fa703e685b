"""`az deployment` against the local Azure: the provisioning template of this repository, as a
person deploys it by hand.
"""

import json
from pathlib import Path

import pytest

from tests.provision.bicep import Compiler

from .conftest import ROOT, Az

pytestmark = pytest.mark.slow
PROVISION = ROOT / "infra" / "provision"


@pytest.fixture(scope="module")
def files(az: Az, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The options that name the compiled template and its parameters; the group is there."""
    az("group create -n rg-ai -l westus3")
    path = tmp_path_factory.mktemp("template") / "inference.json"
    path.write_text(json.dumps(Compiler(PROVISION / "inference.bicep").template(), indent=2))
    return (
        f"-g rg-ai --template-file {path} --parameters @{PROVISION / 'inference.parameters.json'}"
    )


def test_the_provisioning_template_is_deployed(az: Az, files: str) -> None:
    """Foretold, validated, deployed, shown, listed and exported; deployed again it
    changes nothing.
    """
    foretold = az(f"deployment group what-if {files} --no-pretty-print")["changes"]
    assert {change["changeType"] for change in foretold} == {"Create"}
    assert (
        az(f"deployment group validate -n ai {files}")["properties"]["provisioningState"]
        == "Succeeded"
    )
    made = az(f"deployment group create -n ai {files}")["properties"]
    assert made["provisioningState"] == "Succeeded"
    assert {name.upper() for name in made["outputs"]} >= {
        "ACA_APP_NAME",
        "ACA_APP_ENDPOINT",
        "STORAGE_ACCOUNT_NAME",
    }
    app = az("containerapp list -g rg-ai")[0]
    assert app["properties"]["template"]["containers"][0]["resources"]["memory"] == "220Gi"
    assert [one["name"] for one in az("deployment group list -g rg-ai")] == ["ai"]
    steps = az("deployment operation group list -n ai -g rg-ai")
    assert {one["properties"]["provisioningState"] for one in steps} == {"Succeeded"}
    exported = az("deployment group export -n ai -g rg-ai")
    assert set(exported["resources"]) == {
        "workspace",
        "account",
        "files",
        "share",
        "environment",
        "readable",
        "writable",
        "app",
    }
    assert (
        az(f"deployment group create -n ai {files}")["properties"]["provisioningState"]
        == "Succeeded"
    )


def test_what_is_wrong_is_said(az: Az, files: str, tmp_path: Path) -> None:
    """A parameter of a wrong type, before anything is made, and a resource that its provider
    refuses.
    """
    assert "maximumInstanceCount" in az.refused(
        f"deployment group create -n no {files} --parameters maximumInstanceCount=0"
    )
    said = az.refused(
        f"deployment group create -n no {files} --parameters storageAccountName=NOT-A-NAME"
    )
    assert "AccountNameInvalid" in said
    assert az("deployment group show -n no -g rg-ai")["properties"]["provisioningState"] == "Failed"


def test_a_subscription_deployment(az: Az, tmp_path: Path) -> None:
    """A template with comments that makes a group; az sends it as it is written."""
    path = tmp_path / "group.json"
    path.write_text("""{
      // a group, nothing more
      "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
      "contentVersion": "1.0.0.0",
      "resources": [{"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01", "name": "rg-made",
                     "location": "[deployment().location]", "tags": {"by": "az"}}]
    }""")
    made = az(f"deployment sub create -n sub -l westus3 --template-file {path}")
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert az("group show -n rg-made")["tags"] == {"by": "az"}
