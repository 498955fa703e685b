"""A body means the same in every spelling that ARM takes, and with whatever a later API adds to it.

The bodies are the rows of `tests/kinds/test_azure_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.kinds import Kind
from reconciler.engine.diff import Suppression, compare, diff
from reconciler.kinds import rules_of
from tests.kinds.test_azure_rules import RULES as ROWS

rows = st.sampled_from([row[1:] for row in ROWS])
randoms = st.randoms(use_true_random=False)
LATER = {"laterList": [1], "laterText": "x", "laterObject": {"flag": True, "names": ["a"]}}
FREE = {"tags", "metadata", "userAssignedIdentities"}  # names in there are anybody's


def rebuilt(value: Any, change: Callable[[Any, str], Any], name: str = "") -> Any:
    """The value with `change` made to each value in it, from the innermost on."""
    if isinstance(value, dict):
        inner: Any = {key: rebuilt(item, change, key) for key, item in value.items()}
    elif isinstance(value, list):
        inner = [rebuilt(item, change, name) for item in value]
    else:
        inner = value
    return change(inner, name)


def respelled(random: Random) -> Callable[[Any, str], Any]:
    """Names in other letters."""

    def change(value: Any, name: str) -> Any:
        if not isinstance(value, dict) or name in FREE:
            return value
        ways = (str, str.upper, str.lower, lambda text: text[:1].upper() + text[1:])
        return {random.choice(ways)(key): item for key, item in value.items()}

    return change


def as_texts(random: Random) -> Callable[[Any, str], Any]:
    """Numbers and booleans as texts, and whole numbers with a fraction. `false` stays: as a text it
    may be the value of a variable, which is not the same as none.
    """

    def change(value: Any, _: str) -> Any:
        if value is True:
            return random.choice([value, "True", "true"])
        if isinstance(value, int) and value is not False:
            return random.choice([value, str(value), float(value)])
        return value

    return change


def without_empties(random: Random) -> Callable[[Any, str], Any]:
    """Null, nothing and absence for one another."""

    def change(value: Any, name: str) -> Any:
        if not isinstance(value, dict) or name in FREE:
            return value
        kept = {key: item for key, item in value.items() if item not in (None, "", [])}
        dropped = [key for key in value if key not in kept]
        return {**kept, **{key: None for key in dropped if random.random() < 0.5}}

    return change


SPELLINGS = [respelled, as_texts, without_empties]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda each: each.__name__)
@settings(max_examples=150, deadline=None)
@given(row=rows, random=randoms)
def test_a_spelling_changes_nothing(spelling: Any, row: Any, random: Random) -> None:
    """What was asked and what is found may each be spelled otherwise: nothing differs where nothing
    did, and what somebody changed is still the only change.
    """
    kind, asked, found, changed = row
    rules = rules_of(kind)
    spelled = rebuilt(asked, spelling(random))
    found = rebuilt(found, spelling(random))
    assert diff(spelled, found, rules) == ()
    assert compare(spelled, found, rules).changes == ()
    if changed is not None:
        # Who leaves an empty list out no longer asks for an empty one.
        owns = asked if spelling is without_empties else spelled
        assert len(diff(owns, rebuilt(changed, spelling(random)), rules)) == 1


@settings(max_examples=150, deadline=None)
@given(row=rows, random=randoms)
def test_what_a_later_api_adds_is_nobodys(row: Any, random: Random) -> None:
    """Fields that no rule knows, in any object of the answer, are the service's own; asked for and
    missing, each is a change.
    """
    kind, asked, found, _ = row

    def added(value: Any, name: str) -> Any:
        if not isinstance(value, dict) or name in FREE:
            return value
        return {**value, **{key: LATER[key] for key in LATER if random.random() < 0.5}}

    later = rebuilt(found, added)
    assert diff(asked, later, rules_of(kind)) == ()
    assert compare(asked, later, rules_of(kind)).changes == ()
    paths = {change.path for change in diff({**asked, **LATER}, found, rules_of(kind))}
    assert paths == {"laterList", "laterText", "laterObject.flag", "laterObject.names"}


@settings(max_examples=150, deadline=None)
@given(row=rows)
def test_a_null_asks_for_nothing(row: Any) -> None:
    """A tool that names every field it knows, most as null, asks for no more than one that leaves
    them out.
    """
    kind, asked, found, _ = row

    def with_nulls(mine: Any, theirs: Any, name: str = "") -> Any:
        if not isinstance(mine, dict) or not isinstance(theirs, dict) or name in FREE:
            return mine
        both = {key: with_nulls(item, theirs.get(key), key) for key, item in mine.items()}
        return {**dict.fromkeys((*theirs, "laterField")), **both}

    assert diff(with_nulls(asked, found), found, rules_of(kind)) == ()


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.arm])
def test_a_boolean_that_is_false_may_be_left_out(kind: Kind) -> None:
    """False and absent are the same unless the field is true where it is absent."""
    rules = rules_of(kind)
    asked = {"properties": {"laterFlag": False}}
    assert diff(asked, {"properties": {}}, rules) == ()
    assert [each.why for each in compare(asked, {}, rules).suppressed] == [
        Suppression.SERVER_DEFAULT
    ]
    assert diff({"properties": {"laterFlag": True}}, {"properties": {}}, rules)
    for name, default in rules.defaults.items():
        if default is True and "*" not in name:
            *above, last = name.split(".")
            body: Any = {last: False}
            for part in reversed(above):
                body = {part: body}
            assert len(diff(body, {}, rules)) == 1
            assert len(diff({}, body, rules)) == 0


VARYING = [(kind, name) for kind in Kind if kind.arm for name in rules_of(kind).varying]


@pytest.mark.parametrize(("kind", "name"), VARYING, ids=[name for _, name in VARYING])
def test_a_default_that_varies_is_azures_choice(kind: Kind, name: str) -> None:
    """A null over it leaves any value alone; what was asked for is still compared."""
    field = name.removeprefix("properties.")
    found = {"properties": {field: "another"}}
    assert diff({"properties": {field: None}}, found, rules_of(kind)) == ()
    assert len(diff({"properties": {field: "mine"}}, found, rules_of(kind))) == 1


ID = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.App/containerApps/a"
PAIRS = st.sampled_from(
    [
        ("1Gi", "1024Mi"),
        (ID, ID.lower()),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00"),
        ("West US", "westus"),
    ]
)
LITERAL = [
    (Kind.APP, ["tags", "team"]),
    (Kind.SHARE, ["properties", "metadata", "a"]),
    *(
        (Kind.APP, ["properties", "template", *rest])
        for rest in (
            ["containers", "args"],
            ["initContainers", "command"],
            ["containers", "env", "value"],
            ["containers", "probes", "httpGet", "httpHeaders", "value"],
            ["scale", "rules", "custom", "metadata", "a"],
        )
    ),
]


@pytest.mark.parametrize(("kind", "path"), LITERAL, ids=[".".join(path) for _, path in LITERAL])
@given(pair=PAIRS, number=st.integers(0, 9))
def test_a_text_that_programs_read_is_compared_letter_by_letter(
    kind: Kind, path: list[str], pair: tuple[str, str], number: int
) -> None:
    """Azure hands on variables, arguments, headers and tags as they are, so that two texts which
    would be one amount, id or time elsewhere are two; a number is its text, as everywhere.
    """

    def body(value: Any) -> Any:
        inner = [value] if path[-1] in ("args", "command") else value
        for length in range(len(path), 0, -1):
            inner = {path[length - 1]: inner}
            if length > 1 and rules_of(kind).traits(tuple(path[: length - 1])).key is not None:
                inner = [{"name": "a", **inner}]
        return inner

    asked, found = pair
    assert len(diff(body(asked), body(found), rules_of(kind))) == 1
    assert diff(body(number), body(str(number)), rules_of(kind)) == ()
    if path[-1] not in ("args", "command"):
        # An empty text is a value there, and not the service's choice.
        assert len(diff(body(""), body(found), rules_of(kind))) == 1
        assert diff(body(""), body(None), rules_of(kind)) == ()
