"""The verdicts on an adapter: from log-probabilities, and from a user's own prompts."""

import math

import pytest

from serving.catalogue import Expectation
from serving.proof import judge, unmet

SAME, OTHER = [{1: -0.1, 2: -3.0}, {5: -0.2, 6: -2.0}], [{1: -0.3, 2: -3.0}, {5: -0.2, 6: -2.0}]


@pytest.mark.parametrize(
    ("adapted", "reason", "why"),
    [
        ([SAME, SAME], "SameAsBase", "no prompt tells them apart"),
        ([SAME, OTHER], "Proven", "one prompt is enough"),
        ([[{1: -0.1, 7: -3.0}], SAME], "Proven", "other likeliest tokens"),
        ([[], SAME], "Unproven", "one could not be measured, and the others show nothing"),
        ([[], OTHER], "Proven", "what could be measured is enough"),
        (
            [OTHER, [{0: math.nan, 1: math.nan}]],
            "NotFinite",
            "one that overflows would be served to somebody",
        ),
    ],
)
def test_one_prompt_that_differs_is_proof(adapted, reason, why):
    """And all must be the same for the adapter to be called so."""
    assert judge([SAME, SAME], adapted).reason == reason, why


def test_an_adapter_is_not_blamed_for_a_base_model_that_overflows_by_itself():
    """Then nothing can be said of it."""
    rotten = [{0: math.nan}]
    assert judge([rotten, SAME], [rotten, OTHER]).reason != "NotFinite"


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
