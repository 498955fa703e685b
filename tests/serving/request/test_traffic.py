"""How calls are split between two versions of a name, and what is noted of each."""

import pytest

from serving.catalogue import TrafficReport
from serving.request.traffic import NEWEST, Call, Traffic, position


class Version:
    name, digest = "red", "0123456789abcdef"

    def __init__(self):
        self.pins, self.traffic = 0, Traffic()


@pytest.mark.parametrize("weight", [0, 1, 10, 50, 99, 100])
@pytest.mark.parametrize("sticky", [True, False], ids=["by user", "by chance"])
def test_a_weight_is_the_part_of_the_calls(weight, sticky):
    """Of ten thousand calls as many fall to the canary as its weight says, to within four standard
    deviations.
    """
    calls = [Call("default", sticky=f"user {n}" if sticky else "") for n in range(10_000)]
    part = sum(call.draws("red") < weight for call in calls) / 100
    assert abs(part - weight) <= 4 * (weight * (100 - weight) / 10_000) ** 0.5


def test_a_call_draws_once_and_a_user_always_the_same():
    """Asking twice in one call gives one answer; a user stays on a version on every replica and as
    the weight grows.
    """
    call = Call("default")
    assert call.draws("red") == call.draws("red")
    one, other = Call("default", sticky="ada"), Call("ci", sticky="ada")
    assert one.draws("red") == other.draws("red") == 100 * position("red", "ada")
    assert one.draws("red") != one.draws("green")


def test_where_a_user_falls_is_the_same_in_every_release():
    """A rolling update must not move users between versions."""
    found = {user: round(position("red", user), 6) for user in ("ada", "bo", "cy")}
    assert found == {"ada": 0.018572, "bo": 0.604164, "cy": 0.629087}


@pytest.mark.parametrize(
    ("status", "failed", "errors", "reason"),
    [
        (200, False, 0, "an answer"),
        (400, False, 0, "the client's own mistake says nothing of the version"),
        (429, False, 0, "nor does a limit"),
        (500, False, 1, "the server failed"),
        (200, True, 1, "a stream that broke off had begun with 200"),
        (0, True, 1, "nothing was answered"),
    ],
)
def test_what_counts_as_an_error_of_a_version(status, failed, errors, reason):
    """Only what the server failed."""
    version, call = Version(), Call("default")
    call.pin(version)
    call.status, call.failed = status, failed
    call.end()
    assert (version.pins, version.traffic.requests, version.traffic.errors) == (
        0,
        1,
        errors,
    ), reason


def test_the_log_line_has_numbers_and_names_and_no_words():
    """Id, key, model, version, tokens and times."""
    now = [10.0]
    call = Call("ci", "abc", clock=lambda: now[0])
    call.model, call.prompt_tokens, call.status = "red", 7, 200
    call.pin(Version())
    now[0] = 10.25
    call.produced(1)
    now[0] = 11.0
    call.produced(4)
    assert call.line() == {
        "id": "abc",
        "key": "ci",
        "model": "red",
        "version": "0123456789ab",
        "status": 200,
        "failed": False,
        "promptTokens": 7,
        "completionTokens": 5,
        "firstTokenSeconds": 0.25,
        "seconds": 1.0,
    }


def test_the_time_to_the_first_token_is_that_of_the_newest_answers():
    """An old slow answer leaves the figures; a request without a token is counted and not timed;
    whatever was measured is a valid report.
    """
    traffic = Traffic()
    assert TrafficReport(**traffic.report()) == TrafficReport()
    for waited in [1e9, *[float(n) for n in range(NEWEST)]]:
        traffic.saw(failed=False, first_token=waited)
    traffic.saw(failed=True, first_token=None)
    found = TrafficReport(**traffic.report())
    assert (found.requests, found.errors) == (NEWEST + 2, 1)
    assert found.first_tokens is not None
    assert (found.first_tokens.count, found.first_tokens.median) == (NEWEST, 49.0)
    assert found.first_tokens.p95 == 94.0
    endless = Traffic()
    endless.saw(failed=False, first_token=1e9)
    assert TrafficReport(**endless.report()).first_tokens.median == 86_400
