"""The documents of jobs: their shape in each api-version, what is refused, and what holds them."""

import asyncio

import pytest
from azure.core.exceptions import HttpResponseError

from tests.local_azure.job_documents import (
    body,
    create,
    ground,  # noqa: F401 - fixtures
    path_of,
    start,
    until_ended,
)


async def test_the_document_has_azures_shape(clients, ground, slow_operations):
    """The PUT is an echo, GET has the defaults, secrets show their names only, and ephemeralStorage
    depends on the api-version.
    """
    document = body(ground, replicaRetryLimit=2, triggerType="manual")
    path = path_of(clients, "shape")
    status, headers, echo = await clients.raw("PUT", path, document, version="2024-03-01")
    assert status == 201
    assert (
        "/locations/swedencentral/containerappsjobOperationStatuses/"
        in headers["Azure-AsyncOperation"]
    )
    assert "Location" not in headers
    assert echo["properties"]["provisioningState"] == "InProgress"
    assert "ephemeralStorage" not in echo["properties"]["template"]["containers"][0]["resources"]
    busy, _, refused = await clients.raw("PATCH", path, {"tags": {}}, version="2024-03-01")
    assert (busy, refused["error"]["code"]) == (409, "ContainerAppsJobOperationInProgress")
    shown = await settled(clients, path, "2024-03-01")
    configuration, resources = (
        shown["properties"]["configuration"],
        shown["properties"]["template"]["containers"][0]["resources"],
    )
    assert resources == {"cpu": 0.5, "memory": "1Gi", "ephemeralStorage": ""}
    assert configuration["triggerType"] == "Manual"
    assert configuration["manualTriggerConfig"] == {"replicaCompletionCount": 1, "parallelism": 1}
    assert configuration["secrets"] == [{"name": "key"}]
    assert shown["location"] == "Sweden Central"
    _, _, secrets = await clients.raw("POST", f"{path}/listSecrets")
    assert secrets == {"value": [{"name": "key", "value": "s3cret"}]}
    status, headers, none = await clients.raw(
        "PATCH", path, {"properties": {"configuration": {"replicaTimeout": 90}}}
    )
    assert (status, none) == (202, None)
    assert "containerappsjobOperationResults" in headers["Location"]
    assert "Azure-AsyncOperation" not in headers
    shown = await settled(clients, path, "2024-03-01")
    assert shown["properties"]["configuration"]["replicaTimeout"] == 90
    assert "ephemeralStorage" not in shown["properties"]["template"]["containers"][0]["resources"]
    newer = await settled(clients, path, "2024-10-02-preview")
    assert newer["properties"]["runningStatus"] == "Ready"
    assert (
        newer["properties"]["template"]["containers"][0]["resources"]["ephemeralStorage"] == "2Gi"
    )
    assert [
        job.name async for job in clients.apps.jobs.list_by_subscription() if job.name == "shape"
    ] == ["shape"]
    await (await clients.apps.jobs.begin_delete("rg", "shape")).result()
    assert (await clients.raw("GET", path))[0] == 404
    assert (await clients.raw("DELETE", path))[0] == 204


async def settled(clients, path, version):
    while True:
        _, _, shown = await clients.raw("GET", path, version=version)
        if shown["properties"]["provisioningState"] == "Succeeded":
            return shown
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("configuration", "code", "reason"),
    [
        (
            {"replicaTimeout": None},
            "ContainerAppsJobReplicaTimeoutRequired",
            "nothing would ever end it",
        ),
        (
            {"triggerType": "Schedule"},
            "ContainerAppsJobTriggerConfigRequired",
            "a schedule needs its expression",
        ),
        (
            {"triggerType": "Schedule", "scheduleTriggerConfig": {"cronExpression": "61 * * * *"}},
            "InvalidCronExpression",
            "61",
        ),
        (
            {"triggerType": "Schedule", "scheduleTriggerConfig": {"cronExpression": "* * * * * *"}},
            "InvalidCronExpression",
            "six",
        ),
        (
            {"manualTriggerConfig": {"parallelism": 0}},
            "ContainerAppsJobInvalidConfiguration",
            "no replica could run",
        ),
        ({"secrets": []}, "ContainerAppSecretRefNotFound", "the container names a secret"),
        (
            {"registries": [{"server": "a", "passwordSecretRef": "no"}]},
            "ContainerAppRegistriesPasswordSecretRefNotFound",
            "none",
        ),
    ],
)
async def test_what_is_refused(clients, ground, configuration, code, reason):
    """A document that could not work is refused with a 400 and nothing is stored."""
    with pytest.raises(HttpResponseError) as refused:
        await create(clients, "wrong", body(ground, **configuration))
    assert (refused.value.status_code, refused.value.error.code) == (400, code), reason
    assert (await clients.raw("GET", path_of(clients, "wrong")))[0] == 404


async def test_what_a_job_uses_cannot_be_deleted(clients, ground):
    """An environment with jobs and a storage that a job mounts are kept."""
    await create(clients, "keeper", body(ground))
    with pytest.raises(HttpResponseError) as refused:
        await (await clients.apps.managed_environments.begin_delete("rg", "cae")).result()
    assert refused.value.error.code == "ManagedEnvironmentHasContainerAppsJobs"
    with pytest.raises(HttpResponseError):
        await clients.apps.managed_environments_storages.delete("rg", "cae", "phi")


async def test_an_event_trigger_has_its_defaults(clients, ground):
    """Event jobs keep their rules and get Azure's limits; they can be started by hand."""
    rule = {"name": "queue", "type": "azure-queue", "metadata": {"queueName": "q"}}
    event = {"triggerType": "event", "eventTriggerConfig": {"scale": {"rules": [rule]}}}
    job = await create(clients, "eventful", body(ground, **event))
    scale = job.properties.configuration.event_trigger_config.scale
    assert (
        scale.min_executions,
        scale.max_executions,
        scale.polling_interval,
        scale.rules[0].type,
    ) == (0, 100, 30, "azure-queue")
    await until_ended(clients, "eventful", await start(clients, "eventful"))


async def test_a_suspended_job_does_not_start(clients, ground):
    """Suspend and resume are operations; between them nothing starts."""
    await create(clients, "paused", body(ground))
    assert (
        await (await clients.apps.jobs.begin_suspend("rg", "paused")).result()
    ).properties.running_state == "Suspended"
    with pytest.raises(HttpResponseError):
        await start(clients, "paused")
    assert (
        await (await clients.apps.jobs.begin_resume("rg", "paused")).result()
    ).properties.running_state == "Ready"
    await until_ended(clients, "paused", await start(clients, "paused"))
