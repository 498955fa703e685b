"""Jobs through the real SDK: their documents, and executions that really run, retry, time out, stop
and are kept.
"""

import asyncio
import json
import venv
from datetime import UTC, datetime

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError

from infra.local_azure.control.jobs import KEPT, JobControl
from infra.local_azure.control.mounts import Mounts
from infra.local_azure.files.tree import Tree
from infra.local_azure.runtime.execution import judge, missing
from infra.local_azure.runtime.workload import Task
from infra.local_azure.store import Record, Store

REPORT = """
import json, os, pathlib, sys
print("working on", *sys.argv[1:], flush=True)
folder = pathlib.Path("/mnt/share")
(folder / os.environ["CONTAINER_APP_JOB_EXECUTION_NAME"]).write_text(json.dumps({"env": dict(os.environ), "argv": sys.argv[1:]}))
"""
OWN = {"CONTAINER_APP_JOB_NAME", "CONTAINER_APP_JOB_EXECUTION_NAME", "CONTAINER_APP_REPLICA_NAME"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """One image: plain Python in an environment of its own."""
    folder = tmp_path_factory.mktemp("images")
    venv.create(folder / "python", with_pip=False)
    (folder / "images.yaml").write_text(
        f'- image: ["python:3.11"]\n  environment: {folder / "python"}\n  cmd: [python3]\n'
    )
    return folder / "images.yaml"


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


def written(clients, execution):
    return json.loads(
        (clients.azure.state / "files" / "stjobs" / "phi" / "out" / execution).read_text()
    )


async def test_an_execution_runs_with_share_secret_and_its_own_variables(clients, ground):
    """A started job runs its command with the share mounted, the secret resolved, and exactly
    Azure's three variables added.
    """
    job = await create(clients, "report", body(ground, REPORT, "a"))
    assert job.properties.provisioning_state == "Succeeded"
    execution = await start(clients, "report")
    assert execution.startswith("report-")
    ended = await until_ended(clients, "report", execution)
    assert ended.properties.end_time >= ended.properties.start_time
    assert ended.properties.detailed_status.replicas[0].containers[0].code == 0
    seen = written(clients, execution)
    assert seen["argv"] == ["a"]
    assert (seen["env"]["COLOUR"], seen["env"]["KEY"]) == ("blue", "s3cret")
    assert {name for name in seen["env"] if name.startswith("CONTAINER_APP")} == OWN
    assert seen["env"]["CONTAINER_APP_JOB_EXECUTION_NAME"] == execution
    shown = {entry.name: entry.value for entry in ended.properties.template.containers[0].env}
    assert shown["CONTAINER_APP_JOB_NAME"] == "report"
    assert shown["CONTAINER_APP_REPLICA_NAME"] == ""
    assert "s3cret" not in json.dumps(ended.as_dict())


async def test_start_may_override_the_container_and_keeps_its_mounts(clients, ground):
    """The template of `start` replaces command, arguments and variables of one execution; the
    volume stays mounted.
    """
    await create(clients, "override", body(ground, "raise SystemExit('not this')"))
    container = {
        "name": "work",
        "image": "python:3.11",
        "command": ["python3", "-c", REPORT],
        "args": ["hf://org/model"],
        "env": [{"name": "TOKEN", "secretRef": "key"}],
    }
    execution = await start(clients, "override", {"containers": [container]})
    await until_ended(clients, "override", execution)
    seen = written(clients, execution)
    assert seen["argv"] == ["hf://org/model"]
    assert seen["env"]["TOKEN"] == "s3cret"
    assert "COLOUR" not in seen["env"]
    wrong = {"containers": [{**container, "env": [{"name": "TOKEN", "secretRef": "none"}]}]}
    with pytest.raises(HttpResponseError) as refused:
        await start(clients, "override", wrong)
    assert refused.value.error.code == "ContainerAppSecretRefNotFound"
    bare = await start(
        clients, "override", {"containers": [{"command": ["python3", "-c", REPORT], "args": ["b"]}]}
    )
    await until_ended(clients, "override", bare)
    assert written(clients, bare)["argv"] == ["b"]  # name and image are the job's when none is sent


async def test_the_log_of_an_ended_replica_can_be_read(clients, ground):
    """With the job's own token a replica's console can be read, also when it has ended; nobody
    else's token opens it.
    """
    await create(clients, "logged", body(ground, REPORT, "a", "b"))
    execution = await start(clients, "logged")
    await until_ended(clients, "logged", execution)
    job = path_of(clients, "logged")
    _, _, replicas = await clients.raw("GET", f"{job}/executions/{execution}/replicas")
    [container] = replicas["value"][0]["properties"]["containers"]
    _, _, answer = await clients.raw("POST", f"{job}/getAuthToken")
    _, _, shown = await clients.raw("GET", job)
    headers = {"Authorization": f"Bearer {answer['properties']['token']}"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=clients.azure.tls())
    ) as session:
        async with session.get(
            container["logStreamEndpoint"], headers=headers, params={"output": "text"}
        ) as log:
            assert log.status == 200
            assert "working on a b" in await log.text()
        async with session.get(
            shown["properties"]["eventStreamEndpoint"], headers=headers
        ) as events:
            assert "ContainerStarted" in await events.text()
        async with session.get(container["logStreamEndpoint"]) as closed:
            assert closed.status == 401


async def test_a_failing_replica_is_tried_again_and_then_fails_the_execution(clients, ground):
    """With replicaRetryLimit 1 a job that always fails has two replicas and ends Failed with
    Kubernetes' reason.
    """
    await create(clients, "failing", body(ground, "raise SystemExit(3)", replicaRetryLimit=1))
    execution = await start(clients, "failing")
    ended = await until_ended(clients, "failing", execution, "Failed")
    codes = [replica.containers[0].code for replica in ended.properties.detailed_status.replicas]
    assert codes == [3, 3]
    assert ended.properties.reason == "BackoffLimitExceeded"


async def test_an_execution_that_takes_too_long_fails(clients, ground):
    """ReplicaTimeout counts from the start of the execution, and what runs then is ended."""
    await create(clients, "slow", body(ground, "import time; time.sleep(600)", replicaTimeout=1))
    execution = await start(clients, "slow")
    ended = await until_ended(clients, "slow", execution, "Failed")
    assert ended.properties.reason == "DeadlineExceeded"
    await nothing_runs(clients, "slow", execution)


async def nothing_runs(clients, job, execution):
    while True:
        _, _, replicas = await clients.raw(
            "GET", f"{path_of(clients, job)}/executions/{execution}/replicas"
        )
        states = {
            entry["properties"]["containers"][0]["runningState"] for entry in replicas["value"]
        }
        if states <= {"Terminated"}:
            return
        await asyncio.sleep(0.1)


async def test_stopping_one_and_all(clients, ground):
    """Stop ends one execution (by either address) or all that run; they are Stopped at once and
    their processes end.
    """
    manual = {"parallelism": 2, "replicaCompletionCount": 2}
    await create(
        clients, "stopped", body(ground, "import time; time.sleep(600)", manualTriggerConfig=manual)
    )
    first, second, third = [await start(clients, "stopped") for _ in range(3)]
    await (await clients.apps.jobs.begin_stop_execution("rg", "stopped", first)).result()
    status, _, empty = await clients.raw(
        "POST", f"{path_of(clients, 'stopped')}/stop/{second}", version="2024-03-01"
    )
    assert (status, empty) == (200, None)
    stopped = await (
        await clients.apps.jobs.begin_stop_multiple_executions("rg", "stopped")
    ).result()
    assert [execution.name for execution in stopped.value] == [third]
    states = {
        execution.name: execution.properties.status
        async for execution in clients.apps.jobs_executions.list("rg", "stopped")
    }
    assert states == {first: "Stopped", second: "Stopped", third: "Stopped"}
    for execution in (first, second, third):
        await nothing_runs(clients, "stopped", execution)


async def test_init_containers_run_first_and_share_an_empty_volume(clients, ground):
    """Init containers run one after the other before the container, on the replica's own
    EmptyDir.
    """
    mount = {
        "volumeMounts": [{"volumeName": "scratch", "mountPath": "/scratch"}],
        "image": "python:3.11",
    }
    write, read = "open('/scratch/x','w').write('1')", "assert open('/scratch/x').read() == '1'"
    init = {"name": "first", "command": ["python3", "-c", write], **mount}
    document = body(ground, read, container={"volumeMounts": mount["volumeMounts"]})
    document["properties"]["template"] |= {
        "initContainers": [init],
        "volumes": [{"name": "scratch", "storageType": "EmptyDir"}],
    }
    await create(clients, "prepared", document)
    await until_ended(clients, "prepared", await start(clients, "prepared"))


async def test_executions_survive_a_killed_server(connected, images):
    """What ran goes on, what ended while the server was down is known, and what was logged can
    still be read.
    """
    clients = await connected("--operation-seconds", "0.05", "--images", str(images))
    environment = await lay_ground(clients)
    wait = (
        "import os, time\nwhile not os.path.exists('/mnt/share/go'):"
        " time.sleep(0.05)\nprint('gone', flush=True)"
    )
    await create(clients, "long", body(environment, wait))
    await create(clients, "endless", body(environment, "import time; time.sleep(600)"))
    long, endless = await start(clients, "long"), await start(clients, "endless")
    for job, execution in (("long", long), ("endless", endless)):
        while not await running(clients, job, execution):
            await asyncio.sleep(0.1)
    clients.azure.kill()
    (clients.azure.state / "files" / "stjobs" / "phi" / "out" / "go").touch()
    while not list((clients.azure.state / "executions").glob("long-*/*/ended.json")):
        await asyncio.sleep(0.05)
    clients.azure.start()
    await until_ended(clients, "long", long)
    assert await running(clients, "endless", endless)
    await (await clients.apps.jobs.begin_delete("rg", "endless")).result()
    while list((clients.azure.state / "executions").glob("endless-*")):
        await asyncio.sleep(0.05)


async def running(clients, job, execution):
    _, _, replicas = await clients.raw(
        "GET", f"{path_of(clients, job)}/executions/{execution}/replicas"
    )
    return any(
        entry["properties"]["containers"][0]["runningState"] == "Running"
        for entry in replicas["value"]
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


@pytest.mark.slow
async def test_a_schedule_fires(clients, ground):
    """A job with a cron expression is started by the clock; its execution is named after the
    minute.
    """
    schedule = {
        "triggerType": "Schedule",
        "scheduleTriggerConfig": {"cronExpression": "*/1 * * * *"},
    }
    await create(clients, "hourly", body(ground, **schedule))
    while not (
        found := [
            execution async for execution in clients.apps.jobs_executions.list("rg", "hourly")
        ]
    ):
        await asyncio.sleep(0.5)
    minute = int(found[0].properties.start_time.timestamp() // 60)
    assert found[0].name == f"hourly-{minute}"
    await until_ended(clients, "hourly", found[0].name)


class Silent:
    """Executions that are only counted."""

    def __init__(self):
        self.tasks = []
        self.on_end = None

    def set_tasks(self, tasks, kept):
        self.tasks = tasks


def make_job(store, expression):
    configuration = {
        "triggerType": "Schedule",
        "replicaTimeout": 60,
        "replicaRetryLimit": 0,
        "scheduleTriggerConfig": {
            "cronExpression": expression,
            "parallelism": 1,
            "replicaCompletionCount": 1,
        },
    }
    template = {
        "containers": [{"name": "c", "image": "i"}],
        "initContainers": None,
        "volumes": None,
    }
    properties = {
        "provisioningState": "Succeeded",
        "configuration": configuration,
        "template": template,
    }
    private = {"fired": at(9, 58), "suspended": False, "secrets": [], "environment": ""}
    group = "/subscriptions/s/resourceGroups/rg"
    store.put(
        Record(
            group,
            "microsoft.resources/resourcegroups",
            {"properties": {"provisioningState": "Succeeded"}},
        )
    )
    job = Record(
        f"{group}/providers/Microsoft.App/jobs/nightly",
        "microsoft.app/jobs",
        {"properties": properties},
        private,
    )
    store.put(job)
    return job


def at(hour, minute, second=0):
    return datetime(2026, 11, 25, hour, minute, second, tzinfo=UTC).timestamp()


async def test_each_minute_of_a_schedule_fires_once_and_a_hundred_are_kept(tmp_path):
    """Nothing fires twice or early, what was missed by more than a minute is not made up, and old
    executions go.
    """
    store = Store(tmp_path / "azure.db")
    job = make_job(store, "*/10 * * * *")
    control = JobControl(store, Silent(), Mounts(store, Tree(tmp_path), "plain"))

    def names():
        return [record.name for record in store.each("microsoft.app/jobs/executions", job.id)]

    assert control.fire(at(9, 59, 59)) == at(10, 0)
    assert names() == []
    assert control.fire(at(10, 0)) == at(10, 10)
    control.fire(at(10, 0, 30))
    assert names() == [f"nightly-{int(at(10, 0) // 60)}"]
    assert control.fire(at(10, 35)) == at(10, 40)
    assert len(names()) == 1
    for record in store.each("microsoft.app/jobs/executions"):
        record.body["status"] = "Succeeded"
        store.put(record)
    for minute in range(KEPT + 5):
        execution = control.begin(
            store.get(job.key), f"nightly-{minute}", job.body["properties"]["template"]
        )
        execution.body["status"] = "Succeeded"
        store.put(execution)
    assert len(names()) == KEPT
    assert names()[-1] == f"nightly-{KEPT + 4}"
    store.close()


TASK = Task(
    "k",
    "j",
    "j-1",
    "i",
    (),
    (),
    {},
    (),
    started=100.0,
    timeout_s=60.0,
    retries=1,
    parallelism=2,
    completions=3,
)


@pytest.mark.parametrize(
    ("succeeded", "failed", "now", "status", "reason"),
    [
        (2, 0, 110, None, "one completion is missing"),
        (3, 0, 110, "Succeeded", "all completions"),
        (0, 1, 110, None, "one retry is left"),
        (2, 2, 110, "Failed", "more failures than retries"),
        (2, 0, 160, "Failed", "the deadline has come"),
        (3, 0, 160, "Succeeded", "it was done by then"),
    ],
)
def test_judgement(succeeded, failed, now, status, reason):
    """An execution ends as a Kubernetes Job does."""
    outcome = judge(TASK, succeeded, failed, now)
    assert (outcome.status if outcome else None) == status, reason


@pytest.mark.parametrize(
    ("succeeded", "failed", "active", "since", "wanted", "reason"),
    [
        (0, 0, 0, 999, 2, "as many as may run in parallel"),
        (2, 0, 0, 999, 1, "no more than completions are missing"),
        (0, 0, 2, 999, 0, "enough run"),
        (0, 1, 1, 0.5, 0, "after a failure there is a pause"),
        (0, 1, 1, 1.5, 1, "the pause is over"),
        (0, 3, 0, 3.5, 0, "the pause doubles"),
    ],
)
def test_how_many_replicas_are_missing(succeeded, failed, active, since, wanted, reason):
    """Replicas are made up to the parallelism, with a growing pause after failures."""
    assert missing(TASK, succeeded, failed, active, since) == wanted, reason
