"""infra/deploy/container-app.yaml, deployed as it stands: what the local Azure refuses, Azure would
refuse too.
"""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.docs.variants import commented
from tests.local_azure.app_documents import app_path, environment, settle  # noqa: F401

FILE = Path(__file__).parents[2] / "infra" / "deploy" / "container-app.yaml"


@pytest.fixture
async def identity(clients, environment):
    """The identity that the file names."""
    group, _ = environment
    path = (
        f"{clients.group(group)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/moorage"
    )
    body = {"location": "swedencentral"}
    assert (await clients.raw("PUT", path, body, "2023-01-31"))[0] == 201
    return path


def body_of(identifier, subscription, identity):
    """The file with its values in angle brackets replaced."""
    text = FILE.read_text()
    for name, value in {
        "<region>": "swedencentral",
        "<resource id of the identity>": identity,
        "<resource id of the managed environment>": identifier,
        "<registry>/moorage:0.1.0": "nothing:1",
        "<registry>": "team.azurecr.io",
        "<subscription id>": subscription.rpartition("/")[2],
        "<name of this set of documents>": "team",
        "<client id of the identity>": "00000000-0000-0000-0000-000000000003",
    }.items():
        assert name in text
        text = text.replace(name, value)
    assert "<" not in "".join(line.partition("#")[0] for line in text.splitlines())
    return YAML(typ="safe").load(text)


async def test_the_daemons_container_app_is_accepted(clients, environment, identity):
    """Its probes, its documents in a secret volume, its identity and its one replica are what Azure
    shows afterwards.
    """
    group, identifier = environment
    body = body_of(identifier, clients.azure.subscription, identity)
    shown = (await settle(clients, group, body=body))["properties"]
    template = shown["template"]
    (volume,) = template["volumes"]
    assert volume["secrets"] == [{"secretRef": "documents", "path": "documents.yaml"}]
    assert template["scale"]["minReplicas"] == template["scale"]["maxReplicas"] == 1
    assert [each["type"] for each in template["containers"][0]["probes"]] == ["Startup", "Liveness"]
    assert shown["configuration"]["ingress"] is None


async def test_the_lines_in_comments_are_accepted_too(clients, environment, identity):
    """Documents from a mounted share, which the environment has registered, and from Git."""
    group, identifier = environment
    file = {
        "accountName": "stx",
        "accountKey": "a2V5",
        "shareName": "documents",
        "accessMode": "ReadOnly",
    }
    volume, arguments = commented("container-app.yaml")
    storage = f"{identifier}/storages/{volume['storageName']}"
    assert (await clients.raw("PUT", storage, {"properties": {"azureFile": file}}))[0] == 200
    body = body_of(identifier, clients.azure.subscription, identity)
    template = body["properties"]["template"]
    template["volumes"] = [volume]
    template["containers"][0]["args"] = arguments
    shown = (await settle(clients, group, body=body))["properties"]["template"]
    assert shown["volumes"][0]["storageName"] == "documents"
    assert shown["containers"][0]["args"] == arguments


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda template: template["containers"][0].update(resources={"cpu": 0.6}), "no such size"),
        (lambda template: template["volumes"][0].update(name="other"), "a mount without a volume"),
    ],
)
async def test_what_is_wrong_in_it_is_refused(clients, environment, identity, change, reason):
    """So that the test above can fail."""
    group, identifier = environment
    body = body_of(identifier, clients.azure.subscription, identity)
    change(body["properties"]["template"])
    status, _, _ = await clients.raw("PUT", app_path(clients, group), body)
    assert status == 400, reason
