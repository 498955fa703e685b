"""Reports of replicas, read from a real share: a bad one is its replica's fault and nobody else's."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from reconciler.api.outputs import CatalogueOutputs, SeenReplica
from reconciler.api.reasons import Reason
from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.kinds.agreement import agreement
from reconciler.kinds.reports import STALE, Reports

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


async def test_a_heartbeat_from_the_future_grows_old(share, reports):
    """A clock that is a century ahead keeps no dead replica alive."""
    ahead = "2126-01-01T00:00:00Z"
    content = json.dumps(_report("a", heartbeat=ahead)).encode()
    await files.write(share, f"{FOLDER}/replicas/a.json", content)
    beat = (await reports())["a"].heartbeat
    assert beat <= datetime.now(UTC) + STALE + timedelta(seconds=5)
