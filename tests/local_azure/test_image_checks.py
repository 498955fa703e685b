"""Images that Azure does not take: the write is accepted, and its operation ends Failed."""

import asyncio
import uuid

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.polling import AsyncLROPoller

from .app_documents import VERSION, app_body, environment  # noqa: F401
from .conftest import IMAGES

ACR_PULL, SECRETS_USER = (
    "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "4633458b-17de-408a-b874-0445c86b69e6",
)
REGISTRIES = """
- image: ["locked.example/*"]
  pull: denied
- image: ["private.example/*"]
  credentials: {username: reader, password: open sesame}
- image: ["silent.example/*"]
  pull: hangs
"""


@pytest.fixture(scope="module")
def azure(make_azure, tmp_path_factory):
    """A local Azure that knows three registries of its own."""
    file = tmp_path_factory.mktemp("images") / "images.yaml"
    file.write_text(IMAGES.read_text() + REGISTRIES)
    return make_azure("--operation-seconds", "0.05", "--images", str(file))


def body_with(environment_id, image, *, registry=None, secrets=()):
    body = app_body(environment_id)
    body["properties"]["template"]["containers"][0]["image"] = image
    configuration = body["properties"]["configuration"]
    configuration["secrets"] += list(secrets)
    if registry:
        configuration["registries"] = [registry]
    return body


async def refused(poller: AsyncLROPoller) -> str:
    """The message of an operation that ends Failed with the code of Container Apps."""
    with pytest.raises(HttpResponseError) as failure:
        await poller.result()
    assert failure.value.error.code == "ContainerAppOperationError"
    return failure.value.error.message


async def shown(clients, group, name="phi"):
    path = f"{clients.group(group)}/providers/Microsoft.App/containerApps/{name}"
    return (await clients.raw("GET", path, version=VERSION))[2]["properties"]


async def test_an_image_that_no_registry_has_ends_the_operation_failed(clients, environment):
    """The PUT is 201; the operation's error names the field and the image, and the app says it."""
    group, identifier = environment
    apps = clients.apps.container_apps
    message = await refused(
        await apps.begin_create_or_update(group, "phi", body_with(identifier, "nobody/nothing:9"))
    )
    assert message.startswith(
        "Failed to provision revision for container app 'phi'. Error details: The following"
        " field(s) are either invalid or missing. Field 'template.containers.web.image' is invalid"
        ' with details: \'Invalid value: "nobody/nothing:9": GET https:: MANIFEST_UNKNOWN'
    )
    properties = await shown(clients, group)
    assert properties["provisioningState"] == "Failed"
    assert "Field 'template.containers.web.image'" in properties["deploymentErrors"]
    assert not properties["latestRevisionName"]
    assert [revision async for revision in apps_revisions(clients, group)] == []


def apps_revisions(clients, group):
    return clients.apps.container_apps_revisions.list_revisions(group, "phi")


async def test_a_refused_update_leaves_the_revision_that_serves(clients, environment):
    """The app is Failed and shows what was written; its revisions are as before, and a corrected
    image makes the next one.
    """
    group, identifier = environment
    apps = clients.apps.container_apps
    good = body_with(identifier, "nothing:1")
    before = await (await apps.begin_create_or_update(group, "phi", good)).result()
    change = {
        "location": "swedencentral",
        "properties": {"template": {"containers": [{"name": "web", "image": "nothing/no:1"}]}},
    }
    await refused(await apps.begin_update(group, "phi", change))
    properties = await shown(clients, group)
    assert properties["latestRevisionName"] == before.latest_revision_name
    assert properties["template"]["containers"][0]["image"] == "nothing/no:1"
    change["properties"]["template"]["containers"][0]["image"] = "nothing:2"
    await (await apps.begin_update(group, "phi", change)).result()
    properties = await shown(clients, group)
    assert properties["provisioningState"] == "Succeeded"
    assert properties["latestRevisionName"] != before.latest_revision_name


LOGIN = {"server": "private.example", "username": "reader", "passwordSecretRef": "registry"}


@pytest.mark.parametrize(
    ("image", "registry", "password"),
    [
        ("locked.example/a:1", None, ""),
        ("private.example/a:1", None, ""),
        ("private.example/a:1", LOGIN, "wrong"),
        ("private.example/a:1", {**LOGIN, "username": "writer"}, "open sesame"),
        ("private.example/a:1", {**LOGIN, "server": "other.example"}, "open sesame"),
    ],
)
async def test_a_registry_denies_an_app_without_its_credentials(
    clients, environment, image, registry, password
):
    """A registry that lets nobody in, no login, a wrong one, and one for another registry."""
    group, identifier = environment
    secrets = [{"name": "registry", "value": password}] if password else []
    body = body_with(identifier, image, registry=registry, secrets=secrets)
    message = await refused(
        await clients.apps.container_apps.begin_create_or_update(group, "phi", body)
    )
    assert f'\'Invalid value: "{image}": GET https:: UNAUTHORIZED' in message


async def test_a_registry_gives_its_image_to_the_right_password(clients, environment):
    """The username and the value of the secret that the registry's entry names are enough."""
    group, identifier = environment
    secrets = [{"name": "registry", "value": "open sesame"}]
    body = body_with(identifier, "private.example/a:1", registry=LOGIN, secrets=secrets)
    made = await (
        await clients.apps.container_apps.begin_create_or_update(group, "phi", body)
    ).result()
    assert made.provisioning_state == "Succeeded"


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("silent.example/a:1", None),
        ("private.example/a:1", {"server": "private.example", "identity": "system"}),
    ],
)
async def test_an_operation_hangs_until_it_expires(clients, environment, image, registry):
    """A registry that does not answer, and an identity without AcrPull: InProgress for far longer
    than a write takes, then Failed with `Operation expired`.
    """
    group, identifier = environment
    body = body_with(identifier, image, registry=registry)
    poller = await clients.apps.container_apps.begin_create_or_update(group, "phi", body)
    await asyncio.sleep(1)
    assert poller.status() == "InProgress"
    assert (await shown(clients, group))["provisioningState"] == "InProgress"
    assert (await refused(poller)).endswith("Error details: Operation expired.")
    properties = await shown(clients, group)
    assert properties["provisioningState"] == "Failed"
    assert properties["deploymentErrors"] == "Operation expired"


async def test_an_identity_pulls_once_it_has_the_role(clients, environment):
    """AcrPull at the app's group or above, and neither another role nor the role of another."""
    group, identifier = environment
    apps, scope = clients.apps.container_apps, clients.group(group)
    made = {}
    for name in ("mine", "other"):
        kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
        path = f"{scope}/providers/{kind}/{name}"
        document = {"location": "swedencentral"}
        _, _, made[name] = await clients.raw("PUT", path, document, version="2023-01-31")
    mine = made["mine"]["id"]
    registry = {"server": "private.example", "identity": mine}
    body = body_with(identifier, "private.example/a:1", registry=registry)
    body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {mine: {}}}

    async def give(who, role):
        definition = f"/providers/Microsoft.Authorization/roleDefinitions/{role}"
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        properties = {
            "roleDefinitionId": definition,
            "principalId": made[who]["properties"]["principalId"],
            "principalType": "ServicePrincipal",
        }
        status, *_ = await clients.raw(
            "PUT", path, {"properties": properties}, version="2022-04-01"
        )
        assert status == 201

    await give("other", ACR_PULL)
    await give("mine", SECRETS_USER)
    message = await refused(await apps.begin_create_or_update(group, "phi", body))
    assert message.endswith("Operation expired.")
    await give("mine", ACR_PULL)
    made_app = await (await apps.begin_create_or_update(group, "phi", body)).result()
    assert made_app.provisioning_state == "Succeeded"


async def test_a_jobs_image_is_checked_too(clients, environment):
    """A job's operation fails with the job's own code; init containers count."""
    group, identifier = environment
    properties = {
        "environmentId": identifier,
        "configuration": {
            "triggerType": "Manual",
            "replicaTimeout": 60,
            "manualTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1},
        },
        "template": {
            "initContainers": [{"name": "first", "image": "nobody/nothing:9"}],
            "containers": [{"name": "web", "image": "nothing:1"}],
        },
    }
    document = {"location": "swedencentral", "properties": properties}
    with pytest.raises(HttpResponseError) as failure:
        await (await clients.apps.jobs.begin_create_or_update(group, "fit", document)).result()
    assert failure.value.error.code == "ContainerAppsJobOperationError"
    assert "Field 'template.initContainers.first.image'" in failure.value.error.message
