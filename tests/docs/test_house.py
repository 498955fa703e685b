"""The shape of the code: no import cycle, and a drawing that shows it as it is."""

import re

from tests.docs.house import PAGE, drawing
from tests.docs.imports import REPOSITORY, cycles, graph

# Packages whose cycles are not undone yet. Empty is the goal: add nothing here.
NOT_YET_CLEAN: tuple[str, ...] = ("reconciler.arm",)


def test_the_search_finds_a_cycle() -> None:
    """Three modules that import each other in a ring are one cycle; one beside them is none."""
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_import_cycle() -> None:
    """No module of the product imports itself through others, type checking included."""
    dirty = [
        cycle
        for cycle in cycles(graph())
        if not all(name.startswith(NOT_YET_CLEAN) for name in cycle)
    ]
    assert dirty == [], "\n".join(" <-> ".join(cycle) for cycle in dirty)


def test_the_exceptions_are_still_needed() -> None:
    """A package that has become clean leaves the list of exceptions."""
    dirty = {name for cycle in cycles(graph()) for name in cycle}
    clean = [package for package in NOT_YET_CLEAN if not any(n.startswith(package) for n in dirty)]
    assert clean == []


def test_the_drawing_is_of_the_code() -> None:
    """docs/house.svg shows the rooms and the imports there are; `make house` draws it again."""
    assert PAGE.read_text() == drawing()


# Files that are still to be split. Empty is the goal: add nothing here, and take out what has
# become short enough.
STILL_LONG = {
    "reconciler/engine/reconcile.py",
}
LONGEST = 400


def test_no_file_is_longer_than_a_reader_takes_at_once() -> None:
    """A Python file has 400 lines at most, tests too."""
    long = {
        str(path.relative_to(REPOSITORY))
        for folder in ("reconciler", "serving", "infra", "tests", "requirements")
        for path in (REPOSITORY / folder).rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST
    }
    assert sorted(long) == sorted(STILL_LONG)


def test_every_file_that_contributing_names_is_there() -> None:
    """The table "to change, open" leads to files that exist."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:reconciler|serving|infra|tests|docs|requirements)/[^`*]*)`", text)
    assert named
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
