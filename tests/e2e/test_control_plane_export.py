"""Resources provisioned by hand: the exported template, deployed as anyone deploys one, is what a
run would have made.
"""

import json
import shlex

import pytest
from azure.identity import ClientSecretCredential
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.resources import ResourceManagementClient

from infra.local_azure.templates.hashing import unique_string
from tests.e2e.stage import ROOT, ask, environment, service
from tests.provision.bicep import Compiler

# What has no ARM resource: files on the share, and the say of the replicas that read them.
DAEMONS = {"PublishedFolder", "AdapterCatalogue"}


def clients(facts):
    """The SDK's own clients for deployments and resource groups, as a script of a user's would make
    them.
    """
    credential = ClientSecretCredential(
        facts["tenantId"], facts["clientId"], facts["clientSecret"], authority=facts["authority"],
        disable_instance_discovery=True, connection_verify=facts["caFile"],
    )  # fmt: skip
    options = {
        "base_url": facts["armEndpoint"], "credential_scopes": [f"{facts['armEndpoint']}/.default"],
        "connection_verify": facts["caFile"], "retry_total": 0, "polling_interval": 0.1,
    }  # fmt: skip
    subscription = facts["subscriptionId"]
    return (
        DeploymentsMgmtClient(credential, subscription, **options),
        ResourceManagementClient(credential, subscription, **options),
    )


def flags(line, name):
    """The values after an option of a command line up to the next option."""
    words = shlex.split(line)
    rest = words[words.index(name) + 1 :]
    return rest[
        : next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))
    ]


@pytest.fixture(scope="module")
def provisioned(stage):
    """The stage after its documents' template was deployed by hand; what `export` printed, and the
    outputs.
    """
    stage.code("web")
    spec = {
        "resourceGroup": "rg-by-hand",
        "logAnalytics": {"retentionInDays": 31},
        "tags": {"costCenter": "4711"},
    }
    # A bracketed text is a text, not an expression.
    web = service("web", environment="hand", env=[{"name": "COLOUR", "value": "[blue]"}])
    stage.save(environment("hand", **spec), web)
    done = stage.moorage("export", "arm", "-f", str(stage.manifest))
    template = json.loads(done.stdout)
    create, deploy = (
        line.removeprefix("# ") for line in done.stderr.splitlines() if line.startswith("# az")
    )
    deployments, resources = clients(stage.facts)
    tags = dict(word.split("=", 1) for word in flags(create, "--tags"))
    (group,) = flags(create, "--name")
    assert flags(deploy, "--resource-group") == [group]
    with deployments, resources:
        resources.resource_groups.create_or_update(
            group, {"location": flags(create, "--location")[0], "tags": tags}
        )
        body = {"properties": {"mode": "Incremental", "template": template, "parameters": {}}}
        made = deployments.deployments.begin_create_or_update(group, "by-hand", body).result()
    return stage, template, made


def test_what_is_deployed_is_what_is_wanted(provisioned):
    """After the deployment a plan has nothing for ARM: only the folders on the share are left to
    the daemon.
    """
    stage, template, made = provisioned
    assert made.properties.provisioning_state == "Succeeded"
    assert len(made.properties.output_resources) == len(template["resources"]) == 7
    changes = stage.json("plan", "-f", str(stage.manifest))["changes"]
    left = [change for change in changes if change["action"] not in ("no-op", "wait")]
    assert {change["object"].split("/")[0] for change in left} <= DAEMONS, left
    assert all(
        not change["fields"] for change in changes if change["object"].split("/")[0] not in DAEMONS
    ), changes


def test_the_daemon_takes_over(provisioned):
    """A run publishes and waits, and writes nothing to ARM; the service answers at the address that
    the deployment gave.
    """
    stage, _, made = provisioned
    before = len(stage.journal())
    stage.once()
    assert [
        write
        for write in stage.writes(before)
        if "/providers/" in write or "resourcegroups" in write.lower()
    ] == []
    (endpoint,) = [
        one["value"]
        for name, one in made.properties.outputs.items()
        if name.lower() == "web_endpoint"
    ]
    assert ask(endpoint, stage.ca)["colour"] == "[blue]"
    plan = stage.json("plan", "-f", str(stage.manifest))["changes"]
    assert {change["action"] for change in plan} == {"no-op"}


def test_two_resource_groups_are_refused(make_stage):
    """A template goes into one group, and the sentence says so."""
    stage = make_stage()
    stage.code("web")
    stage.save(environment("one"), environment("two"), service("web", environment="one"))
    done = stage.moorage("export", "arm", "-f", str(stage.manifest), code=2)
    assert "rg-moorage-one, rg-moorage-two" in done.stderr
    assert done.stdout == ""


def test_the_bicep_file_provisions_by_hand(stage):
    """Compiled, and with its own parameters file, nulls and all: the names are derived, the outputs
    are the project's six.
    """
    template = Compiler(ROOT / "infra" / "provision" / "inference.bicep").template()
    given = json.loads((ROOT / "infra" / "provision" / "inference.parameters.json").read_text())[
        "parameters"
    ]
    deployments, resources = clients(stage.facts)
    with deployments, resources:
        group = resources.resource_groups.create_or_update("rg-bicep", {"location": "westus3"})
        body = {"properties": {"mode": "Incremental", "template": template, "parameters": given}}
        checked = deployments.deployments.begin_validate("rg-bicep", "inference", body).result()
        made = deployments.deployments.begin_create_or_update(
            "rg-bicep", "inference", body
        ).result()
    assert len(checked.properties.validated_resources) == len(made.properties.output_resources) == 7
    outputs = {name.upper(): one["value"] for name, one in made.properties.outputs.items()}
    suffix = unique_string(group.id)[:5]
    assert "://" not in outputs.pop(
        "ACA_APP_ENDPOINT"
    )  # the host alone, as the project's configuration has it
    assert outputs == {
        "SUBSCRIPTION_ID": stage.facts["subscriptionId"],
        "RESOURCE_GROUP_NAME": "rg-bicep",
        "STORAGE_ACCOUNT_NAME": f"aistorage{suffix}",
        "FILE_SHARE_NAME": f"aifileshare{suffix}",
        "ACA_APP_NAME": f"aiacaapp{suffix}",
    }
