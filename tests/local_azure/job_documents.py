"""Ground for jobs, and the documents of small ones, for the tests of jobs."""

import asyncio

import pytest

REPORT = """
import json, os, pathlib, sys
print("working on", *sys.argv[1:], flush=True)
folder = pathlib.Path("/mnt/share")
(folder / os.environ["CONTAINER_APP_JOB_EXECUTION_NAME"]).write_text(json.dumps({"env": dict(os.environ), "argv": sys.argv[1:]}))
"""


OWN = {"CONTAINER_APP_JOB_NAME", "CONTAINER_APP_JOB_EXECUTION_NAME", "CONTAINER_APP_REPLICA_NAME"}


@pytest.fixture(scope="module")
def azure(make_azure, images):
    return make_azure("--operation-seconds", "0.05", "--images", str(images))


@pytest.fixture
async def ground(clients):
    """Group, account, share, environment and its storage; gives the environment's id."""
    return await lay_ground(clients)


async def lay_ground(clients):
    await clients.resources.resource_groups.create_or_update("rg", {"location": "swedencentral"})
    body = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    await (await clients.storage.storage_accounts.begin_create("rg", "stjobs", body)).result()
    await clients.storage.file_shares.create("rg", "stjobs", "phi", {"properties": {}})
    key = (await clients.storage.storage_accounts.list_keys("rg", "stjobs"))["keys"][0]["value"]
    environments = clients.apps.managed_environments
    made = await environments.begin_create_or_update(
        "rg", "cae", {"location": "swedencentral", "properties": {}}
    )
    environment = await made.result()
    file = {
        "accountName": "stjobs",
        "accountKey": key,
        "shareName": "phi",
        "accessMode": "ReadWrite",
    }
    await clients.apps.managed_environments_storages.create_or_update(
        "rg", "cae", "phi", {"properties": {"azureFile": file}}
    )
    return environment.id


def body(environment, code=REPORT, *args, container=None, template=None, **configuration):
    chosen = {
        "name": "work",
        "image": "python:3.11",
        "command": ["python3", "-c", code],
        "args": list(args),
        "env": [{"name": "COLOUR", "value": "blue"}, {"name": "KEY", "secretRef": "key"}],
        "volumeMounts": [{"volumeName": "share", "mountPath": "/mnt/share", "subPath": "out"}],
        **(container or {}),
    }
    volumes = [{"name": "share", "storageType": "AzureFile", "storageName": "phi"}]
    settings = {
        "triggerType": "Manual",
        "replicaTimeout": 60,
        "secrets": [{"name": "key", "value": "s3cret"}],
        **configuration,
    }
    properties = {"environmentId": environment, "configuration": settings}
    properties["template"] = {"containers": [chosen], "volumes": volumes, **(template or {})}
    return {"location": "swedencentral", "properties": properties}


async def create(clients, name, document):
    return await (await clients.apps.jobs.begin_create_or_update("rg", name, document)).result()


async def start(clients, name, template=None):
    return (await (await clients.apps.jobs.begin_start("rg", name, template)).result()).name


async def until_ended(clients, job, execution, status="Succeeded"):
    while True:
        found = await clients.apps.job_execution("rg", job, execution)
        if found.properties.status != "Running":
            assert found.properties.status == status, found.as_dict()
            return found
        await asyncio.sleep(0.1)


def path_of(clients, job):
    return f"{clients.group('rg')}/providers/Microsoft.App/jobs/{job}"
