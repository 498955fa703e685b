"""`AdaptersLoaded` is what the replicas say themselves, all of them."""

from datetime import UTC, datetime

from reconciler.api.outputs import AdapterOutputs, CatalogueOutputs, SeenReplica
from reconciler.kinds.service.agreement import agreement
from serving.catalogue import AdapterReport, ReplicaReport

CATALOGUE = CatalogueOutputs("e", 1, 4, (AdapterOutputs("red", "abcdef123456"),))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(name, *, generation=4, digest="abcdef123456", state="Loaded", message=""):
    adapter = AdapterReport(
        name="red", digest=digest, desired="abcdef123456", state=state, message=message
    )
    return ReplicaReport(
        replica=name,
        revision="r",
        pid=1,
        started_at=NOW,
        heartbeat=NOW,
        generation=generation,
        epoch=1,
        model_loaded=True,
        ready=True,
        adapters=(adapter,),
    )


def mark(reports, replicas=("a", "b"), *, asleep=False):
    rows = [SeenReplica(name, "r", ready=True, restarts=0) for name in replicas]
    return agreement(rows, {each.replica: each for each in reports}, CATALOGUE, asleep=asleep)


def test_all_replicas_agree():
    """True only when every live replica has the desired digest."""
    assert mark([report("a"), report("b")]).status == "True"


def test_one_replica_is_behind():
    """A replica that has not seen the newest catalogue makes it false, and is named."""
    found = mark([report("a"), report("b", generation=3)])
    assert (found.status, found.reason) == ("False", "Loading")
    assert "b has seen catalogue 3 of 4" in found.message


def test_a_replica_that_cannot_load_says_why():
    """The replica's own words reach the condition, with the version it serves meanwhile."""
    found = mark(
        [
            report("a"),
            report("b", digest="old000000000", state="Failed", message="rank 64 is too large"),
        ]
    )
    assert (found.status, found.reason) == ("False", "AdapterFailed")
    assert "serving old000000000: rank 64 is too large" in found.message


def test_a_silent_replica_is_unknown():
    """A replica that ARM lists and that does not report is unknown, never absent."""
    found = mark([report("a")])
    assert (found.status, found.reason) == ("Unknown", "ReportStale")


def test_no_replica_at_all():
    """At zero replicas nothing can be said of them."""
    assert mark([], replicas=(), asleep=True).reason == "ScaledToZero"
