"""Reports of replicas, read from a real share: a bad one is its replica's fault and nobody else's."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from reconciler.api.outputs import CatalogueOutputs, SeenReplica
from reconciler.api.reasons import Reason
from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.kinds.service.agreement import agreement
from reconciler.kinds.share.reports import Reports

FOLDER = "services/phi/e1"


def _report(name, **changes):
    now = datetime.now(UTC).isoformat()
    return {
        "replica": name, "revision": "v", "pid": 1, "startedAt": now, "heartbeat": now,
        "generation": 1, "epoch": 1, "modelLoaded": True, "ready": True, **changes,
    }  # fmt: skip


BAD = {
    "deep": b"[" * 100_000,
    "no JSON": b"{",
    "a list": b"[]",
    "empty": b"",
    "no zone": json.dumps(_report("bad", heartbeat="2026-01-01T00:00:00")).encode(),
    "a wrong type": json.dumps(_report("bad", adapters={"a": 1})).encode(),
    "digits": b'{"pid": ' + b"1" * 5_000 + b"}",
    "another's": json.dumps(_report("good")).encode(),
    "long": b'"' + b"a" * (3 << 20) + b'"',
}


@pytest.fixture
def reports(share):
    ref = ShareRef("dev", share.group, share.account, share.name)
    one = Reports(SimpleNamespace(open=lambda _: share))

    async def read():
        return {report.replica: report for report in await one.of(ref, FOLDER)}

    return read


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
async def test_a_bad_report_is_told_of_its_replica_and_the_others_are_read(share, reports, content):
    """`ReportUnreadable` names it and why; its neighbour serves on."""
    await files.write(share, f"{FOLDER}/replicas/bad.json", content)
    good = json.dumps(_report("good")).encode()
    await files.write(share, f"{FOLDER}/replicas/good.json", good)
    found = await reports()
    assert (found["good"].ready, found["good"].unreadable) == (True, "")
    assert not found["bad"].ready
    assert found["bad"].unreadable
    replicas = [SeenReplica(name, "r", ready=True, restarts=0) for name in ("bad", "good")]
    mark = agreement(replicas, found, CatalogueOutputs("e", 1, 1), asleep=False)
    assert (mark.status, mark.reason) == ("Unknown", Reason.REPORT_UNREADABLE)
    assert mark.message.startswith("bad: ")


async def test_a_torn_report_costs_nothing_while_the_one_before_it_is_fresh(share, reports):
    """Readers over SMB may see half a file; the next look reads it again."""
    path = f"{FOLDER}/replicas/a.json"
    whole = json.dumps(_report("a")).encode()
    await files.write(share, path, whole)
    assert (await reports())["a"].ready
    await files.write(share, path, whole[:50])
    assert (await reports())["a"].ready
    await files.write(share, path, json.dumps(_report("a", ready=False)).encode())
    found = (await reports())["a"]
    assert (found.ready, found.unreadable) == (False, "")


@pytest.mark.parametrize("hours", [1, -1, 24 * 36500], ids=["ahead", "behind", "a century ahead"])
async def test_the_times_of_a_replica_with_a_wrong_clock_are_set_right(share, reports, hours):
    """Its report is as old as the share says: it is not stale while the replica lives, and keeps no
    dead one alive; how long it took to start and has served a canary stays as it was.
    """
    now, off = datetime.now(UTC), timedelta(hours=hours)

    def at(seconds):
        return (now + off - timedelta(seconds=seconds)).isoformat()

    canary = {"digest": "b" * 64, "state": "Loaded", "loadedAt": at(20)}
    adapter = {"name": "a", "digest": "a" * 64, "desired": "a" * 64, "state": "Loaded"}
    times = {"startedAt": at(90), "readyAt": at(60), "heartbeat": at(0)}
    adapters = [{**adapter, "loadedAt": at(40), "canary": canary}]
    content = json.dumps(_report("a", **times, adapters=adapters)).encode()
    await files.write(share, f"{FOLDER}/replicas/a.json", content)
    found = (await reports())["a"]
    assert abs(found.heartbeat - now) < timedelta(seconds=15)
    times = moments(found)
    assert len(times) == 5
    ages = sorted(round((found.heartbeat - each).total_seconds()) for each in times)
    assert ages == [0, 20, 40, 60, 90]


async def test_times_that_no_calendar_has_are_no_error(share, reports):
    """Year 1 less an hour: the replica's report is read all the same."""
    first = "0001-01-01T00:00:00Z"
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    content = json.dumps(_report("a", startedAt=first, heartbeat=late)).encode()
    await files.write(share, f"{FOLDER}/replicas/a.json", content)
    assert (await reports())["a"].ready


def moments(model):
    """Every time in a report, wherever it stands."""
    found = []
    for value in dict(model).values():
        if isinstance(value, datetime):
            found.append(value)
        for each in value if isinstance(value, tuple) else (value,):
            if hasattr(each, "model_dump"):
                found += moments(each)
    return found
