"""How long a replica's cold start took, beside what was predicted from its model's size."""

from datetime import UTC, datetime

import pytest

from reconciler.api.outputs import AppOutputs, ArmView, SeenReplica
from reconciler.api.resources import ContainerAppSpec
from reconciler.composition import template
from reconciler.kinds.service.replicas import Seen
from serving.catalogue import ReplicaReport

CREATED = "2026-11-25T10:00:00"  # Azure leaves the zone out now and then
REPLICA = SeenReplica("phi--r1-a", "phi--r1", ready=True, restarts=0, created_time=CREATED)


@pytest.mark.parametrize(
    ("ready_at", "seconds", "reason"),
    [
        (
            datetime(2026, 11, 25, 10, 3, 20, tzinfo=UTC),
            200.0,
            "from Azure's creation, the pull included, to ready",
        ),
        (None, None, "it has not been ready yet"),
    ],
)
def test_predicted_and_actual_stand_side_by_side(ready_at, seconds, reason):
    """The row carries both, and nothing is claimed before it is known."""
    now = datetime.now(UTC)
    report = ReplicaReport(
        replica="phi--r1-a", revision="phi--r1", pid=7, started_at=now, heartbeat=now, generation=1,
        model_loaded=True, ready=ready_at is not None, ready_at=ready_at,
    )  # fmt: skip
    spec = ContainerAppSpec(
        "phi", "rg", "dev", {}, template={"scale": {}}, suffix="r1", startup_seconds=170
    )
    seen = Seen.of(spec, ArmView((), (REPLICA,)), [report], None, None, now)
    (row,) = seen.outputs(AppOutputs()).replicas
    assert row.dump()["startup"] == {"predictedSeconds": 170, "seconds": seconds}, reason
    told = report.model_copy(update={"stage": "weights", "stages": {"runtime": 41.5}})
    seen = Seen.of(spec, ArmView((), (REPLICA,)), [told], None, None, now)
    (row,) = seen.outputs(AppOutputs()).replicas
    found = row.dump()["startup"]
    assert (found["stage"], found["stages"]) == ("weights", {"runtime": 41.5})


def test_the_prediction_grows_with_the_weights():
    """58 GiB at a standard share's slowest promise take a quarter of an hour longer than
    nothing.
    """
    assert template.startup_seconds(0) == 169
    assert template.startup_seconds(58 << 30) - template.startup_seconds(0) == pytest.approx(
        58 * 1024 / 60, abs=1
    )
