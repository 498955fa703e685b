"""The verdicts on an adapter: from log-probabilities, and from a user's own prompts."""

import math

import pytest

from serving.catalogue import Expectation
from serving.proof import FLOORS, judge, unmet


def run(*first: float, then: float = -0.2):
    """Two greedy tokens, each with its likeliest alternatives."""
    return [dict(enumerate(first, 1)), {5: then, 6: -2.0}]


SAME, OTHER = run(-0.1, -3.0), run(-0.3, -3.0)
NOISY = [SAME, run(-0.2, -3.0), SAME]
NAN = [{0: math.nan, 1: math.nan}]
QUIET = [SAME, SAME, SAME]


@pytest.mark.parametrize(
    ("trials", "reason", "why"),
    [
        ([(QUIET, SAME), (QUIET, SAME)], "SameAsBase", "no prompt tells them apart"),
        ([(QUIET, SAME), (QUIET, OTHER)], "Proven", "one prompt is enough"),
        ([(NOISY, OTHER)], "SameAsBase", "the base differs from itself by as much"),
        ([(NOISY, run(-0.7, -3.0))], "Proven", "several times as much as the base from itself"),
        ([(QUIET, OTHER), (NOISY, SAME)], "SameAsBase", "noise is the engine's, not a prompt's"),
        ([(QUIET, [{1: -0.1, 7: -3.0}])], "SameAsBase", "as likely as the least that is listed"),
        ([(QUIET, [{1: -0.1, 7: -0.5}])], "Proven", "likelier than all that the base lists"),
        (
            [([SAME, run(-0.1, -3.0, then=-0.6)], run(-3.0, -0.1, then=-9.0))],
            "Proven",
            "the answers part at once",
        ),
        (
            [([run(-0.70, -0.69, then=-9.0), run(-0.69, -0.70)], run(-0.69, -0.70))],
            "SameAsBase",
            "a tie that falls either way says nothing of what comes after it",
        ),
        (
            [(QUIET, []), (QUIET, SAME)],
            "Unproven",
            "one could not be measured, the others are same",
        ),
        ([(QUIET, []), (QUIET, OTHER)], "Proven", "what could be measured is enough"),
        ([([[], []], [])], "Unproven", "nothing could be measured"),
        ([(QUIET, OTHER), (QUIET, NAN)], "NotFinite", "one that overflows would be served"),
        ([([NAN, SAME], NAN)], "SameAsBase", "a base that overflows by itself: no adapter's fault"),
    ],
)
def test_an_adapter_is_proven_by_a_difference_that_noise_does_not_make(trials, reason, why):
    """The base against itself is the noise; the adapter must differ by several times as much."""
    assert judge(trials, 0.01).reason == reason, why


def test_half_floats_have_a_floor_of_two_of_their_steps():
    """A change that tips one rounding of a logit is no proof, even where the base repeats itself."""
    assert judge([(QUIET, OTHER)], FLOORS["bfloat16"]).reason == "SameAsBase"
    assert judge([(QUIET, run(-0.5, -3.0))], FLOORS["bfloat16"]).reason == "Proven"
    assert judge([(QUIET, OTHER)], FLOORS["float16"]).reason == "Proven"


CASES = (
    Expectation(prompt="Capital of Italy?", expect="Rome"),
    Expectation(prompt="Greet me", expect="good  day"),
)


@pytest.mark.parametrize(
    ("answers", "said", "reason"),
    [
        (("It is ROME.", "Good day, sir"), "", "case and spacing do not matter"),
        (("It is Milan.", "Good day"), "1 of 2 prompts", "one is wrong"),
        (("", ""), "2 of 2 prompts", "silence is no answer"),
    ],
)
def test_an_evaluation_wants_every_expectation_in_its_answer(answers, said, reason):
    """What is wrong is told with the first prompt, its answer and what was expected."""
    found = unmet(CASES, answers)
    assert said in found if said else found == "", reason
    if said == "1 of 2 prompts":
        assert "'Capital of Italy?', with 'It is Milan.' instead of 'Rome'" in found
