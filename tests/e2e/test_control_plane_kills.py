"""Kill -9 of the daemon, of the local Azure, of a replica, at any moment: the same end, and nothing
made twice.
"""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.stage import ask, environment, service

MATCHES = "everything matches the documents, after"  # `up` has nothing left to write


def documents(colour="red"):
    return environment("dev"), service(
        "web", environment="dev", env=[{"name": "COLOUR", "value": colour}]
    )


@pytest.mark.timeout(300)  # some forty daemons, each a process that starts from nothing
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 9))]
)
def test_a_daemon_killed_at_any_moment_goes_on(make_stage, seed):
    """From nothing to a running service, and on to its next version, with the daemon killed again
    and again on the way.
    """
    stage, delays = make_stage(), random.Random(seed)
    stage.code("web")
    stage.save(*documents("red"))
    kill_repeatedly(stage, delays)
    stage.once("-y")
    assert_made_once(stage)
    stage.save(*documents("green"))
    kill_repeatedly(stage, delays)
    stage.once("-y")
    assert_made_once(stage)
    before = len(stage.journal())
    stage.once("-y")
    assert stage.writes(since=before) == []
    web = stage.document("web")
    assert [(r["trafficWeight"], r["serving"]) for r in web["revisions"]] == [(100, True)]
    assert ask(web["endpoint"], stage.ca)["colour"] == "green"
    assert "DriftFound" not in {event.reason for event in stage.events()}


def kill_repeatedly(stage, delays, most=20):
    """Start the daemon and kill it, each time a little after it made its next call, until it has
    nothing left to write.
    """
    for _ in range(most):
        up = stage.up()
        calls = len(stage.writes())
        while (
            len(stage.writes()) == calls and up.process.poll() is None and MATCHES not in up.output
        ):
            time.sleep(0.005)
        time.sleep(delays.choice([0, 0.01, 0.03, 0.1, 0.3]))
        done = MATCHES in up.output
        up.kill()
        if done:
            break


def assert_made_once(stage):
    """No resource was created twice, no revision was written twice, no file was uploaded twice in
    full.
    """
    made = Counter()
    for entry in stage.journal():
        if entry["plane"] == "arm" and entry["method"] == "PUT" and entry["status"] in (201, 202):
            made[entry["path"].lower()] += 1
    assert {path: count for path, count in made.items() if count > 1} == {}
    patches = [
        e
        for e in stage.journal()
        if e["method"] == "PATCH" and "/containerApps/" in e["path"] and e["status"] < 300
    ]
    assert len(patches) <= 2, patches  # a template, and a move of the traffic


async def test_a_lost_operation_is_resumed(make_stage):
    """A daemon killed while Azure works for seconds asks about that very operation when it comes
    back.
    """
    stage = make_stage("--operation-seconds", "3")
    stage.code("web")
    stage.save(*documents())
    up = stage.up()
    await up.until(
        lambda: any("/managedEnvironments/cae-dev 201" in write for write in stage.writes()),
        60,
        "creating",
    )
    up.kill()
    polls = len(operations(stage, "managedEnvironmentOperationStatuses"))
    up = stage.up()
    await up.until(
        lambda: len(operations(stage, "managedEnvironmentOperationStatuses")) > polls,
        20,
        "the operation is polled",
    )
    await up.converged("web", "dev", seconds=90)
    up.end()
    assert_made_once(stage)
    assert (
        len({entry["path"] for entry in operations(stage, "managedEnvironmentOperationStatuses")})
        == 1
    )


def operations(stage, kind):
    return [entry for entry in stage.journal() if f"/{kind}/" in entry["path"]]


@pytest.fixture(scope="module")
def up(stage):
    """A service with two replicas under watch."""
    stage.code("web")
    stage.save(service("web", scale={"minReplicas": 2, "maxReplicas": 2}))
    up = stage.up(resync=2)
    yield up
    up.end()


def answer(up, stage):
    return ask(up.document("web")["endpoint"], stage.ca)


async def test_a_killed_local_azure_is_started_again(stage, up):
    """Same port, same replicas, requests answered all the while; the daemon goes on with what is
    saved next.
    """
    await up.settled_on("web", version="one")
    facts, pids = stage.azure("start"), pids_of(up, stage)
    os.kill(stage.azure("status")["pid"], 9)
    assert answer(up, stage)["version"] == "one"
    await up.until(lambda: stage.azure("status")["running"], 30, "it runs again")
    assert stage.azure("start") == facts
    await up.until(lambda: up.condition("web", "Ready")["status"] == "True", 30, "seen again")
    assert pids_of(up, stage) == pids
    before = len(stage.journal())
    stage.save(
        service(
            "web",
            scale={"minReplicas": 2, "maxReplicas": 2},
            env=[{"name": "COLOUR", "value": "green"}],
        )
    )
    await up.settled_on("web", colour="green")
    assert len([write for write in stage.writes(since=before) if write.startswith("PATCH ")]) == 2


async def test_a_killed_replica_comes_back(stage, up):
    """Kill -9 of a replica's process: the platform restarts it, nothing is written for it, and
    status knows.
    """
    await up.settled_on("web", version="one")
    before = len(stage.journal())
    victim = min(pids_of(up, stage))
    os.kill(victim, 9)
    await up.until(
        lambda: victim not in (now := pids_of(up, stage)) and len(now) == 2,
        30,
        "another process answers",
    )
    await up.converged("web")
    assert stage.writes(since=before) == []


async def test_a_deleted_cache_is_no_loss(stage, up):
    """state.db taken away while the daemon runs, and while it does not: the same state is read
    again from Azure.
    """
    await up.settled_on("web", version="one")
    before = len(stage.journal())
    for path in (stage.state / "daemon" / "local").glob("state.db*"):
        path.unlink()
    up.kill()
    stage.once()
    assert stage.writes(since=before) == []
    status = stage.documents()
    assert {document["name"] for document in status} == {"web", "default"}


def pids_of(up, stage):
    """The service's processes, which are below the shims of this local Azure."""
    shims = [pid for pid in all_pids() if f"{stage.azure_dir}/replicas/" in words_of(pid)]
    return {
        pid
        for shim in shims
        for pid in below(shim)
        if "app.py 9000" in words_of(pid) and "/bin/sh" not in words_of(pid)
    }


def all_pids():
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def words_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # it has just ended


def below(pid):
    """All descendants of a process."""
    try:
        children = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []
    return [*children, *(each for child in children for each in below(child))]
