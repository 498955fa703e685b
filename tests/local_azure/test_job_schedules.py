"""When a job's schedule fires, and how the end of an execution is judged."""

from datetime import UTC, datetime

import pytest

from infra.local_azure.control.jobs import KEPT, JobControl
from infra.local_azure.control.mounts import Mounts
from infra.local_azure.files.tree import Tree
from infra.local_azure.runtime.execution import judge, missing
from infra.local_azure.runtime.workload import Task
from infra.local_azure.store import Record, Store


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
