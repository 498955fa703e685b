"""Edits of the saved file while `moorage up` runs converge by themselves, and no request fails on
the way.
"""

import pytest

from tests.e2e.load import Load
from tests.e2e.stage import environment, service


@pytest.fixture(scope="module")
def up(stage):
    """`moorage up` on one service, for the whole module; each test saves what it needs."""
    stage.code("web")
    stage.save(service("web"))
    up = stage.up()
    yield up
    up.end()


def endpoint(up, name="web"):
    return up.document(name)["endpoint"]


async def test_code_env_and_command_change_under_load(stage, up):
    """Changed code, a changed variable, a changed command: three new revisions, and not one request
    fails.
    """
    await up.settled_on("web", version="one")
    green = [{"name": "COLOUR", "value": "green"}]
    async with Load(endpoint(up), stage.ca) as load:
        await load.reaches(50)
        stage.code("web", "two")
        await up.settled_on("web", version="two")
        stage.save(service("web", env=green))
        await up.settled_on("web", version="two", colour="green")
        stage.save(service("web", env=green, command=["python3", "-u", "app.py", "9000", "extra"]))
        await up.settled_on("web", arguments=["9000", "extra"])
        await load.reaches(500)
    assert load.failures == []
    assert len(load.answers) >= 500
    assert len(load.seen("revision")) == 4
    assert reasons(stage, "ContainerApp/web") == {"Creating", "Updating"}


async def test_replicas_change_with_the_scale(stage, up):
    """More replicas, then fewer: the service answers all the time."""
    stage.save(service("web", scale={"minReplicas": 2, "maxReplicas": 3}))
    await up.until(lambda: len(ready_replicas(up)) == 2, 60, "two replicas")
    await up.converged("web")
    async with Load(endpoint(up), stage.ca, clients=4) as load:
        stage.save(service("web"))
        await up.until(lambda: len(ready_replicas(up)) == 1, 60, "one replica")
        await up.converged("web")
        await load.reaches(50)
    assert load.failures == []


async def test_a_second_service_comes_and_goes(stage, up):
    """A further document makes a further app; taken away and approved, only that one goes."""
    stage.code("api")
    stage.save(service("web"), service("api"))
    await up.settled_on("api", arguments=["9000"])
    before = len(stage.journal())
    stage.save(service("web"))
    await up.until(
        lambda: up.condition("api", "Synced")["reason"] == "Deleting", 20, "the service is leaving"
    )
    assert stage.writes(since=before) == []
    stage.moorage("approve", "InferenceService/api", "-y")
    await up.until(lambda: up.document("api") is None, 60, "the service is gone")
    writes = [write for write in stage.writes(since=before) if "containerApps" in write]
    assert len(writes) == 1
    assert writes[0].startswith("DELETE ")
    assert writes[0].endswith("/containerApps/api 202")
    await up.settled_on("web", arguments=["9000"])


async def test_tags_are_merged(stage, up):
    """A tag in the Environment reaches everything that can carry one, in one write each; taking it
    away leaves it to others.
    """
    stage.save(environment(tags={"costCenter": "4711"}), service("web"))
    before = len(stage.journal())
    await up.converged("web", "default")
    plan = stage.json("plan", "-f", str(stage.manifest))
    assert [line for line in plan["changes"] if line["action"] != "no-op"] == []
    written = [write.split(" ")[1].split("/")[-2] for write in stage.writes(since=before)]
    assert sorted(written) == [
        "managedEnvironments",
        "resourceGroups",
        "storageAccounts",
        "workspaces",
    ]
    assert "Drift" not in str(reasons(stage))


async def test_the_port_moves_with_the_traffic(stage, up):
    """A changed targetPort reaches the ingress together with the revision that listens there."""
    stage.save(service("web", targetPort=9100))
    await up.settled_on("web", arguments=["9100"], seconds=20)
    async with Load(endpoint(up), stage.ca) as load:
        await load.reaches(20)
        stage.save(service("web", targetPort=9200))
        await up.settled_on("web", arguments=["9200"])
        await load.reaches(100)
    assert load.failures == []


async def test_another_profile_where_the_old_revision_goes_first(stage, up):
    """Recreate and a changed workload profile: the profile waits for the revision that is to run
    there, and does not hold it up.
    """
    big = {"name": "big", "workloadProfileType": "D4", "minimumCount": 0, "maximumCount": 1}
    stage.save(environment(workloadProfiles=[big]), service("web"))
    await up.settled_on("web", arguments=["9000"])
    there = {"workloadProfileName": "big", "rollout": {"strategy": "Recreate"}}
    stage.save(
        environment(workloadProfiles=[big]),
        service("web", **there, env=[{"name": "COLOUR", "value": "blue"}]),
    )
    await up.settled_on("web", colour="blue", seconds=30)


def ready_replicas(up, name="web"):
    return [
        replica for replica in (up.document(name) or {}).get("replicas", ()) if replica["ready"]
    ]


def reasons(stage, about=""):
    return {
        event["reason"]
        for event in stage.json("events", "--limit", "1000")["events"]
        if about in ("", event["object"])
    }
