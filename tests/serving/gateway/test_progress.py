"""What callers are told of a start: its stage, and the seconds left."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.catalogue import STAGES, ReplicaReport
from serving.gateway.learning import KEPT, LearnedStarts
from serving.gateway.progress import progress
from serving.gateway.routes import RoutedService, StartPrediction

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIVE = StartPrediction(
    seconds=200,
    stages={"assigned": 20, "image": 30, "weights": 120, "adapters": 20, "first_token": 10},
)


def report(*, loaded):
    return ReplicaReport(
        replica="a",
        revision="r",
        pid=1,
        started_at=NOW,
        heartbeat=NOW,
        generation=1,
        model_loaded=loaded,
        ready=False,
    )


@pytest.mark.parametrize(
    ("elapsed", "seen", "text"),
    [
        (0, None, "1 of 5 waiting for a machine, about 200 s left"),
        (30, None, "2 of 5 fetching the image, about 170 s left"),
        (90, None, "2 of 5 fetching the image, about 170 s left"),  # no replica has reported yet
        (20, report(loaded=False), "3 of 5 reading weights, about 150 s left"),
        (100, report(loaded=False), "3 of 5 reading weights, about 100 s left"),
        (400, report(loaded=False), "3 of 5 reading weights, about 145 s left"),
        (100, report(loaded=True), "4 of 5 loading adapters, about 30 s left"),
        (195, report(loaded=True), "5 of 5 making the first token, about 5 s left"),
        (900, report(loaded=True), "5 of 5 making the first token, about 1 s left"),
    ],
)
def test_the_report_bounds_what_the_clock_says(elapsed, seen, text):
    """The stage is the predicted one unless the replica's report proves another."""
    assert progress(FIVE, elapsed, seen).text("phi") == f"phi is starting: {text}"


def test_a_gateway_that_came_later_knows_how_far_the_start_is():
    """The replica's own start counts, not when this gateway first asked; a slow machine before it
    changes nothing of what comes after.
    """
    for elapsed in (0, 300):
        told = progress(FIVE, elapsed, report(loaded=False), 60)
        assert told.text("phi").endswith("3 of 5 reading weights, about 90 s left")


@pytest.mark.parametrize(
    ("of", "due"), [(FIVE, 50), (StartPrediction(seconds=300), 300)], ids=["a stage", "a total"]
)
def test_a_start_that_is_late_is_said_to_take_longer(of, due):
    """The later it is, the more: who waits must not read the same few seconds for minutes."""
    told = [progress(of, due + late, None).left for late in (0, 30, 400)]
    assert told == sorted(told)
    assert told[-1] >= told[0] + 20


def test_without_stages_only_the_seconds_are_told():
    """A prediction of a total alone makes no stages up."""
    told = progress(StartPrediction(seconds=300), 100, None).text("phi")
    assert told == "phi is starting: about 200 s left"


@settings(max_examples=200, deadline=None)
@given(
    seconds=st.floats(0, 86_400),
    stages=st.dictionaries(st.sampled_from(STAGES), st.floats(0, 86_400)),
    elapsed=st.floats(0, 1e6),
    seen=st.sampled_from([None, report(loaded=False), report(loaded=True)]),
)
def test_what_is_left_is_always_a_sensible_number(seconds, stages, elapsed, seen):
    """Whatever is predicted: at least a second, at most the whole start, and a stage that exists."""
    told = progress(StartPrediction(seconds=seconds, stages=stages), elapsed, seen)
    assert 1 <= told.left <= max(1.0, 1.0001 * seconds)
    assert 1 <= told.number <= told.count


def test_a_prediction_learns_from_what_starts_took():
    """Starts that took twice as long as published double the next prediction, one outlier changes
    nothing, and a new model's prediction is corrected by the same factor.
    """
    service = RoutedService(name="phi", endpoint="x", models=(), predicted=FIVE)
    starts = LearnedStarts()
    for seconds in (400, 400, 9000):
        starts.observe(service, seconds, starts.predict(service).seconds)
    told = starts.predict(service)
    assert (told.seconds, told.stages["weights"]) == (400, 240)
    larger = service.model_copy(update={"predicted": StartPrediction(seconds=500)})
    assert starts.predict(larger).seconds == 1000
    again = LearnedStarts()
    again.load(starts.dump())
    assert again.predict(service) == told
    for _ in range(3 * KEPT):
        starts.observe(service, 200, 200)
    assert len(starts.dump()[0].starts) == KEPT
    assert starts.errors()[-1] == 0
