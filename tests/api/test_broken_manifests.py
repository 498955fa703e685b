"""A table of broken saves: each problem has its exact place, what is wrong, and what would be
right.
"""

import pytest

from tests.api.broken_case import MODEL
from tests.api.broken_gateways import GATEWAYS
from tests.api.broken_rules import NAMES, REFERENCES, RULES
from tests.api.broken_schedules import SCHEDULES
from tests.api.broken_secrets import SECRETS
from tests.api.broken_shapes import SHAPE, SYNTAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [*SYNTAX, *SHAPE, *RULES, *NAMES, *REFERENCES, *GATEWAYS, *SCHEDULES, *SECRETS],
)
def test_a_broken_save_says_where_what_and_what_instead(manifest, text, expected):
    """Every problem of the file is found, at its line and column, with what would be right; and
    none besides.
    """
    problems = manifest.problems(text)
    wanted = [part for part in expected if part[0].isdigit()] or expected
    assert len(problems) == len(wanted), problems
    for part in expected:
        assert any(
            f"m.yaml:{part}" in problem if part[0].isdigit() else part in problem
            for problem in problems
        ), problems


def test_two_documents_of_one_name_name_both_places(manifest):
    """The second is refused, and says where the first stands."""
    problems = manifest.problems(MODEL, "# another file\n" + MODEL)
    assert problems == [
        "m1.yaml:3:18: there are two InferenceService documents named 'phi', the first in"
        " /tmp/m.yaml:2:18; rename one"
    ]


def test_problems_of_all_files_come_together_in_order(manifest):
    """One broken file does not hide another's problems."""
    problems = manifest.problems("kind: [", MODEL + "  nope: 1\n", "kind: X\n")
    assert [problem.split(": ")[0] for problem in problems] == [
        "m.yaml:1:8",
        "m1.yaml:5:3",
        "m2.yaml:1:7",
    ]
