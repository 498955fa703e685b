"""A managed environment and the document of a small app, for the tests of apps and environments."""

import pytest

VERSION = "2026-07-01"


@pytest.fixture
async def environment(clients, request):
    """A group with a ready environment that has one GPU profile; gives (group, environment id)."""
    group = f"rg-{abs(hash(request.node.name)) % 10**10}"
    await clients.resources.resource_groups.create_or_update(group, {"location": "swedencentral"})
    body = {
        "location": "swedencentral",
        "properties": {
            "workloadProfiles": [
                {"name": "gpu", "workloadProfileType": "Consumption-GPU-NC24-A100"}
            ]
        },
    }
    made = await (
        await clients.apps.managed_environments.begin_create_or_update(group, "cae", body)
    ).result()
    return group, made.id


def app_body(environment_id, **template):
    container = {
        "name": "web",
        "image": "nothing:1",
        "env": [{"name": "KEY", "secretRef": "key"}],
        "command": None,
        "args": [],
    }
    return {
        "location": "Sweden Central",
        "tags": {"owner": "m"},
        "properties": {
            "environmentId": environment_id,
            "configuration": {
                "activeRevisionsMode": "multiple",
                "secrets": [{"name": "key", "value": "s3cret"}],
                "ingress": {"targetPort": 8000, "external": True, "transport": "auto"},
            },
            "template": {
                "containers": [container],
                "scale": {"minReplicas": 0, "maxReplicas": 1},
                **template,
            },
        },
    }


async def settle(clients, group, name="phi", body=None, patch=None):
    """One write through the SDK's poller with its default intervals; gives the app's later GET."""
    apps = clients.apps.container_apps
    if body is not None:
        await (await apps.begin_create_or_update(group, name, body)).result()
    if patch is not None:
        await (await apps.begin_update(group, name, patch)).result()
    return await get(clients, group, name)


async def get(clients, group, name="phi", version=VERSION):
    return (await clients.raw("GET", app_path(clients, group, name), version=version))[2]


def app_path(clients, group, name="phi"):
    return f"{clients.group(group)}/providers/Microsoft.App/containerApps/{name}"


async def refused(clients, group, body, name="phi"):
    status, _, answer = await clients.raw("PUT", app_path(clients, group, name), body)
    return status, answer["error"]["code"]
