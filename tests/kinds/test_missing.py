"""Fewer ready replicas than `minReplicas`: on their way, or missing, and what is told of them."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.api.outputs import ArmView, Revision, SeenReplica
from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds.replicas import Seen

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SPEC = ContainerAppSpec(
    "web", "rg", "dev", {}, template={"scale": {"minReplicas": 2}}, suffix="r1", serves_model=False
)
REVISION = Revision("web--r1", True, 100, "Healthy", "Running", 1)


def replica(name, ready, age, restarts=0, details=""):
    created = (NOW - timedelta(seconds=age)).isoformat()
    return SeenReplica(name, "web--r1", ready, restarts, created, details)


@pytest.mark.parametrize(
    ("replicas", "late", "why"),
    [
        ([replica("a", True, 900), replica("b", False, 5)], False, "it has just begun to start"),
        ([replica("a", True, 900), replica("b", False, 30, 2)], True, "it crashes"),
        ([replica("a", True, 900), replica("b", False, 600)], True, "a start takes less"),
        ([replica("a", True, 900)], True, "Azure has listed no second one for a quarter hour"),
        ([replica("a", True, 10)], False, "the first is there for ten seconds"),
    ],
)
def test_a_missing_replica_is_given_its_time(replicas, late, why):
    """One that starts is waited for; one that crashes, takes too long or never comes is missing."""
    seen = Seen.of(SPEC, ArmView((REVISION,), tuple(replicas)), [], None, None, NOW)
    assert (seen.missing, seen.proven, seen.late) == (1, True, late), why
    assert seen.lacking.startswith("1 of 2 replicas are ready")


def test_what_is_told_of_it():
    """Its name, Azure's words and how often it was restarted."""
    crashing = replica("b", False, 30, 4, "Container crashing: web")
    seen = Seen.of(
        SPEC, ArmView((REVISION,), (replica("a", True, 90), crashing)), [], None, None, NOW
    )
    assert seen.lacking == (
        "1 of 2 replicas are ready; b: Container crashing: web (restarted 4 times)"
    )
