"""The shape of the code: no import cycle, and a drawing that shows it as it is."""

import ast
import re
from collections import defaultdict

import pytest

from tests.docs.house import PAGE, drawing
from tests.docs.imports import REPOSITORY, cycles, graph


def test_the_search_finds_a_cycle() -> None:
    """Three modules that import each other in a ring are one cycle; one beside them is none."""
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_import_cycle() -> None:
    """No module of the product imports itself through others, type checking included."""
    dirty = cycles(graph())
    assert dirty == [], "\n".join(" <-> ".join(cycle) for cycle in dirty)


def test_the_drawing_is_of_the_code() -> None:
    """docs/house.svg shows the rooms and the imports there are; `make house` draws it again."""
    assert PAGE.read_text() == drawing()


LONGEST = 400


def test_no_file_is_longer_than_a_reader_takes_at_once() -> None:
    """A Python file has 400 lines at most, tests too."""
    long = [
        str(path.relative_to(REPOSITORY))
        for folder in ("reconciler", "serving", "infra", "tests", "requirements")
        for path in (REPOSITORY / folder).rglob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST
    ]
    assert long == []


# The document's field and the catalogue's row of the same thing; the field and its kind.
ONE_THING = {"Adapter", "ApiKey", "Canary", "KeyLimits", "Limits", "ManagedEnvironment"}


@pytest.mark.parametrize("rooms", [("reconciler", "serving"), ("infra",)])
def test_a_class_name_means_one_thing(rooms) -> None:
    """Two classes of a program do not share a name, unless they are the same thing on two sides of
    a contract. The local Azure is another program, whose words are Azure's.
    """
    places = defaultdict(list)
    for path in (path for room in rooms for path in sorted((REPOSITORY / room).rglob("*.py"))):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(REPOSITORY)))
    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in shared.items() if name not in ONE_THING} == {}


def test_every_file_that_contributing_names_is_there() -> None:
    """The table "to change, open" leads to files that exist."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:reconciler|serving|infra|tests|docs|requirements)/[^`*]*)`", text)
    assert named
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
