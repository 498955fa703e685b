"""A document that goes takes nothing with it before a person or `prune: true` says so, and never
the data.
"""

import pytest

from tests.e2e.stage import ask, environment, service


@pytest.fixture(scope="module")
def up(stage):
    """Two services in an Environment of their own, and one elsewhere."""
    for name in ("web", "api", "other"):
        stage.code(name)
    stage.save(*everything())
    up = stage.up()
    yield up
    up.end()


def everything(**sync):
    more = {"syncPolicy": sync} if sync else {}
    dev = environment("dev", **more)
    return (
        dev,
        service("web", environment="dev"),
        service("api", environment="dev"),
        service("other"),
    )


def kinds_of(writes):
    """What was deleted of ARM, in its words for the kinds, in order."""
    return [
        write.split(" ")[1].split("/")[-2]
        for write in writes
        if write.startswith("DELETE /subscriptions/")
    ]


async def test_coming_back_within_the_grace_keeps_everything(stage, up):
    """A document that vanished for a moment was never gone: not one write."""
    await up.converged("web", "api", "other", "dev")
    dev, web, api, other = everything()
    before = len(stage.journal())
    stage.save(dev, api, other)
    await up.until(
        lambda: up.condition("web", "Synced")["reason"] == "Deleting", 20, "web is leaving"
    )
    assert "in case that was a mistake" in up.condition("web", "Synced")["message"]
    stage.save(dev, web, api, other)
    await up.converged("web", "api", "other", "dev")
    assert stage.writes(since=before) == []


async def test_nothing_goes_before_it_may(stage, up):
    """After the grace a person is asked; `prune: true` answers for the whole Environment."""
    dev, _, api, other = everything()
    before = len(stage.journal())
    stage.save(dev, api, other)
    await up.until(
        lambda: up.condition("web", "Synced")["reason"] == "AwaitingApproval",
        45,
        "a person is asked",
    )
    assert "moorage approve" in up.condition("web", "Synced")["message"]
    assert ask(up.document("web")["endpoint"], stage.ca)["version"] == "one"
    assert stage.writes(since=before) == []
    plan = [
        line
        for line in stage.json("plan", "-f", str(stage.manifest))["changes"]
        if line["action"] != "no-op"
    ]
    assert [(line["object"], line["action"], line["problem"]) for line in plan] == [
        ("ContainerApp/web", "delete", "waits for approval")
    ]
    stage.save(environment("dev", syncPolicy={"prune": True}), api, other)
    await up.until(lambda: up.document("web") is None, 30, "web is gone")
    assert kinds_of(stage.writes(since=before)) == ["containerApps"]
    await up.converged("api", "other", "dev")


async def test_an_environment_goes_in_azures_order(stage, up):
    """Half of the documents vanish at once: only a person may say yes. Then apps go first, and what
    holds data stays.
    """
    *_, other = everything()
    before = len(stage.journal())
    stage.save(other)
    await up.until(
        lambda: up.condition("dev", "Synced", "Environment")["status"] == "False",
        20,
        "dev is leaving",
    )
    stage.moorage("approve", "-y")
    await up.until(lambda: up.document("dev", "Environment") is None, 60, "dev is gone")
    assert up.document("api") is None
    gone = kinds_of(stage.writes(since=before))
    assert sorted(gone[:3]) == ["containerApps", "storages", "storages"]
    assert gone[3:] == ["managedEnvironments", "workspaces"]
    kept = [event for event in stage.events() if event.reason == "Retained"]
    assert {event.object for event in kept} >= {
        "StorageAccount/dev",
        "FileShare/dev",
        "ResourceGroup/dev",
    }
    await up.converged("other", "default")


async def test_an_environment_that_comes_back_finds_its_data(stage, up):
    """The same documents again: the account and what is published are found, the rest is made."""
    before = len(stage.journal())
    stage.save(*everything())
    await up.converged("web", "api", "other", "dev")
    written = " ".join(stage.writes(since=before))
    assert "/storageAccounts/" not in written
    assert "/code/web" not in written
    assert written.count("/containerApps/") == 2


async def test_down_removes_all_but_data_and_then_data(stage, up):
    """`down --dry-run` shows, beside a daemon too, `down` removes in Azure's order, `down
    --purge-data` also what holds data.
    """
    beside = stage.moorage("down", "--dry-run").stdout
    assert "- ContainerApp/web" in beside
    assert beside.count("(set ") == 1
    assert "stop it first" in stage.moorage("down", "-y", code=1).stderr
    assert up.end() == 0
    before = len(stage.journal())
    dry = stage.moorage("down", "--dry-run")
    assert "- ContainerApp/web" in dry.stdout
    assert "StorageAccount" not in dry.stdout
    last = f"that was last run from {stage.state}"
    assert last in dry.stdout
    assert last not in stage.moorage("down", "--dry-run", "-f", str(stage.manifest)).stdout
    assert stage.moorage("down", code=4).returncode == 4
    assert "Deleting" not in stage.moorage("status").stdout  # nobody agreed
    assert stage.writes(since=before) == []
    told = stage.moorage("down", "-y").stdout
    assert "all on its share" in told
    assert "the local Azure still runs: `moorage local-azure stop`" in told
    assert "left in place" not in told  # of each folder, and of what the last line names
    gone = kinds_of(stage.writes(since=before))
    assert sorted(gone) == sorted(
        ["containerApps"] * 3 + ["storages"] * 4 + ["managedEnvironments"] * 2 + ["workspaces"] * 2
    )
    assert (
        gone.index("workspaces") > gone.index("managedEnvironments") > gone.index("containerApps")
    )
    stage.moorage("down", "-y")
    assert len(kinds_of(stage.writes(since=before))) == len(gone)
    before = len(stage.journal())
    dry = stage.moorage("down", "--dry-run", "--purge-data")
    assert "- StorageAccount/dev" in dry.stdout
    stage.moorage("down", "-y", "--purge-data")
    gone = kinds_of(stage.writes(since=before))
    assert gone.count("storageAccounts") == 2
    assert gone.count("resourceGroups") == 2
    assert gone.index("resourceGroups") > gone.index("storageAccounts")
    assert stage.documents() == []
