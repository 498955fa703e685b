"""What Azure cannot change is refused with the reason, and nothing at all is written."""

import json

import pytest

from tests.e2e.stage import ask, environment, service


@pytest.fixture(scope="module")
def up(stage):
    """A service in an Environment that the documents describe."""
    stage.code("web")
    stage.save(environment("dev", location="swedencentral", syncPolicy={"prune": True}), in_dev())
    up = stage.up("--resync", "2")
    yield up
    up.end()


def in_dev(name="dev"):
    return service("web", environment=name)


@pytest.fixture
async def good(stage, up):
    """The good documents, converged; gives the length of the journal."""
    stage.save(environment("dev", location="swedencentral", syncPolicy={"prune": True}), in_dev())
    await up.converged("web", "dev")
    await up.until(lambda: not up.status().get("problems"), 10, "no problem is left")
    return len(stage.journal())


async def refused(stage, up, since, reason, *words, kind="Environment", name="dev"):
    """The condition says why, it says so still after two resyncs, the service answers and nothing
    was written.
    """
    stalled = await up.until(lambda: stalled_of(up, kind, name), 20, "refused")
    assert stalled["reason"] == reason
    for word in words:
        assert word in stalled["message"]
    calls = len(stage.journal())
    await up.until(lambda: len(stage.journal()) > calls + 10, 20, "a resync")
    assert stalled_of(up, kind, name)["reason"] == reason
    assert ask(up.document("web")["endpoint"], stage.ca)["version"] == "one"
    assert stage.writes(since=since) == []


def stalled_of(up, kind, name):
    condition = up.condition(name, "Stalled", kind)
    return condition if condition["status"] == "True" else None


async def test_a_location_is_fixed(stage, up, good):
    """`location` cannot change, for anything that has one."""
    stage.save(environment("dev", location="westeurope", syncPolicy={"prune": True}), in_dev())
    await refused(stage, up, good, "ImmutableField", "location", "swedencentral", "westeurope")


async def test_the_managed_environments_name_is_fixed(stage, up, good):
    """A managed environment cannot be renamed, and no second one is built."""
    stage.save(
        environment("dev", managedEnvironment={"name": "cae-other"}, syncPolicy={"prune": True}),
        in_dev(),
    )
    await refused(stage, up, good, "EnvironmentImmutable", "cae-other", "cae-dev")


async def test_the_environments_own_name_is_fixed(stage, up, good):
    """The Environment document cannot be renamed under its services: the old one stays as it is,
    the new one is not built.
    """
    stage.save(
        environment("prod", location="swedencentral", syncPolicy={"prune": True}), in_dev("prod")
    )
    await refused(
        stage, up, good, "EnvironmentImmutable", "dev", "prod", kind="InferenceService", name="web"
    )
    await refused(stage, up, good, "EnvironmentImmutable", "dev", "prod", name="prod")
    assert up.condition("dev", "Synced", "Environment")["reason"] != "Deleting"
    done = stage.moorage("plan", "-f", str(stage.manifest), "-o", "json", code=1)
    plan = {line["object"]: line for line in json.loads(done.stdout)["changes"]}
    assert {line["action"] for line in plan.values()} <= {"no-op", "refuse"}
    assert "cannot move" in plan["InferenceService/web"]["problem"]


async def test_a_one_shot_run_says_so_too(stage, up, good):
    """`up --once` ends with code 1 and the same reason."""
    assert up.end() == 0
    stage.save(environment("dev", location="westeurope", syncPolicy={"prune": True}), in_dev())
    done = stage.once(code=1)
    assert "ImmutableField" in done.stdout
    assert "westeurope" in done.stdout
    assert stage.writes(since=good) == []
