"""Jobs through the real SDK: their documents, and executions that really run, retry, time out, stop
and are kept.
"""

import asyncio
import json

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError

from tests.local_azure.job_documents import (  # noqa: F401 - fixtures
    OWN,
    REPORT,
    body,
    create,
    ground,
    lay_ground,
    path_of,
    start,
    until_ended,
)


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
