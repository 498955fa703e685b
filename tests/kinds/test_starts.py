"""What cold starts took, and what the next one is expected to take by that."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.outputs import AppOutputs, ArmView, SeenReplica
from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds.gateway.route_view import wanted_routes
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.starts import expected, remembered
from serving.catalogue import ReplicaReport
from serving.gateway.learning import RECENT, LearnedStarts
from serving.gateway.routes import StartPrediction
from tests.kinds.test_route_view import SPEC, app, seen

CREATED = datetime(2026, 11, 25, 10, tzinfo=UTC)
PUBLISHED = 170
STAGES = {"runtime": 20.0, "weights": 5.0}


def _replica(name, **more):
    values = {"revision": "phi--r1", "ready": True, "restarts": 0}
    return SeenReplica(name, **values | {"created_time": CREATED.isoformat()} | more)


def _report(name, *, image=12.0, ready=40.0, **more):
    values = {"revision": "phi--r1", "pid": 7, "generation": 1, "model_loaded": True}
    times = {
        "started_at": CREATED + timedelta(seconds=image),
        "ready_at": None if ready is None else CREATED + timedelta(seconds=ready),
        "heartbeat": datetime.now(UTC),
    }
    return ReplicaReport(replica=name, ready=True, stages=STAGES, **values | times | more)


def _seen(before, *names, **more):
    reports = {name: _report(name, **more) for name in names}
    return remembered(before, [_replica(name) for name in names], reports, PUBLISHED)


def test_a_start_is_remembered_once():
    """With its stages, and the image's pull as the time before the process began."""
    starts = _seen(_seen((), "a"), "a")
    (one,) = starts
    assert (one.start.seconds, one.start.published) == (40.0, PUBLISHED)
    assert one.start.stages == {"image": 12.0, **STAGES}


def test_the_newest_starts_count():
    """Of many the newest are kept."""
    starts = ()
    for number in range(RECENT + 3):
        starts = _seen(starts, f"r{number}")
    assert [each.replica for each in starts] == [f"r{n}" for n in range(3, RECENT + 3)]


@pytest.mark.parametrize(
    ("replica", "report"),
    [({}, {"ready": None}), ({"restarts": 1}, {}), ({"created_time": None}, {})],
    ids=["not ready yet", "its container began again", "Azure does not say since when"],
)
def test_what_tells_nothing_of_a_cold_start_is_not_remembered(replica, report):
    """Only a whole start of a replica counts."""
    found = remembered((), [_replica("a", **replica)], {"a": _report("a", **report)}, PUBLISHED)
    assert found == ()


@given(image=st.floats(-1e6, 1e6), ready=st.floats(-1e6, 1e6))
def test_a_report_that_is_nonsense_stops_nothing(image, ready):
    """Whatever a replica claims, there is a prediction of some length afterwards."""
    starts = _seen((), "a", image=image, ready=ready)
    found = expected(StartPrediction(seconds=PUBLISHED), starts)
    assert 0 < found.seconds <= 86_400


def test_the_next_start_is_expected_to_take_what_the_last_ones_took():
    """In the status, for a start under way, while a start is no evidence for itself."""
    spec = ContainerAppSpec(
        "phi", "rg", "dev", {}, template={"scale": {}}, suffix="r1", startup_seconds=PUBLISHED
    )
    now = datetime.now(UTC)
    first = Seen.of(spec, ArmView((), (_replica("a"),)), [_report("a")], None, None, now)
    outputs = first.outputs(AppOutputs())
    assert outputs.replicas[0].startup.predicted_seconds == PUBLISHED
    arm = ArmView((), (_replica("b"),))
    second = Seen.of(spec, arm, [_report("b", ready=None)], None, outputs, now)
    assert second.outputs(AppOutputs()).replicas[0].startup.predicted_seconds == 40
    assert second.predicted() == 40
    assert AppOutputs.load(outputs.dump()).starts == outputs.starts


def test_a_gateway_begins_with_what_the_daemon_has_learned():
    """Before it has seen a start itself; afterwards its own experience counts."""
    starts = _seen((), "a")
    (phi,) = wanted_routes(SPEC, None, seen(app(starts=starts))).services
    assert (phi.predicted.seconds, phi.learned.seconds) == (120, 29)
    assert phi.learned.stages.keys() == {"image", *STAGES}
    (unseen,) = wanted_routes(SPEC, None, seen(app())).services
    assert unseen.learned is None
    learning = LearnedStarts()
    assert learning.predict(phi) == phi.learned
    learning.observe(phi, 60, 29)
    assert learning.predict(phi).seconds == 60
