"""What must hold of the diff whatever is compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.diff import SECRET, diff
from reconciler.engine.rules import Rules

RULES = Rules(
    lists={"…items": "name", "zones": ""},
    ignore_case=["location"],
    ignored=["etag"],
    secrets=["password"],
)

scalars = st.one_of(st.booleans(), st.integers(-9, 9), st.text("abAB 1.0Gi", max_size=5), st.none())
entries = st.dictionaries(st.sampled_from(["size", "mode", "value"]), scalars, max_size=3)


def keyed(values: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    named = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), values, max_size=4)
    return named.map(lambda found: [{**entry, "name": name} for name, entry in found.items()])


items = keyed(st.builds(lambda entry, inner: {**entry, "items": inner}, entries, keyed(entries)))
bodies = st.fixed_dictionaries(
    {},
    optional={
        "location": st.sampled_from(["westus", "West US", "north"]),
        "items": items,
        "zones": st.lists(st.sampled_from("123"), unique=True),
        "args": st.lists(scalars, max_size=3),
        "etag": scalars,
        "password": st.text("xyz", min_size=1, max_size=3),
        "nested": st.fixed_dictionaries(
            {}, optional={"deep": entries, "list": st.lists(entries, max_size=2)}
        ),
    },
)


def applied(desired: Any, observed: Any, path: tuple[str, ...] = ()) -> Any:
    """What a service makes of `observed` when told `desired`: a merge, by key where entries have
    names.
    """
    if isinstance(desired, dict) and isinstance(observed, dict | None):
        observed = observed or {}
        return {
            **observed,
            **{
                name: applied(value, observed.get(name), (*path, name))
                for name, value in desired.items()
            },
        }
    if isinstance(desired, list) and path and path[-1] == "items":
        there = {entry["name"]: entry for entry in observed or []}
        wanted = {
            entry["name"]: applied(entry, there.get(entry["name"]), path) for entry in desired
        }
        return list({**there, **wanted}.values())
    if isinstance(desired, list) and path == ("zones",):
        return list(dict.fromkeys([*(observed or []), *desired]))
    return desired


@given(bodies)
def test_nothing_differs_from_itself(body):
    """diff(x, x) is empty."""
    assert diff(body, body, RULES) == ()
    assert diff(body, body) == ()


@given(bodies, bodies)
def test_applying_the_desired_leaves_no_difference(desired, observed):
    """After the service took what was asked, nothing is left to ask."""
    assert diff(desired, applied(desired, observed), RULES) == ()


@given(bodies, bodies, st.randoms())
def test_the_order_of_keyed_lists_means_nothing(desired, observed, random):
    """Shuffling named entries on either side changes no difference."""

    def shuffled(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: shuffled(item, key) for key, item in value.items()}
        if isinstance(value, list) and name in ("items", "zones"):
            return random.sample([shuffled(item) for item in value], len(value))
        return value

    before = {change.path for change in diff(desired, observed, RULES)}
    assert {change.path for change in diff(shuffled(desired), shuffled(observed), RULES)} == before


@given(bodies, bodies)
def test_a_secret_is_never_shown(desired, observed):
    """Secret values appear in no change."""
    for change in diff(desired, observed, RULES):
        if change.path == "password":
            assert {change.before, change.after} <= {SECRET, None}


@given(bodies, bodies)
def test_fields_the_document_does_not_set_are_not_ours(desired, observed):
    """Every change is about a field that `desired` names."""
    for change in diff(desired, observed, RULES):
        assert change.path.split(".")[0].split("[")[0] in desired


CASES: list[tuple[Any, Any, Rules, list[str], str]] = [
    ({"a": None}, {}, Rules(), [], "None is absence"),
    ({"a": {}}, {"a": {"b": 1}}, Rules(), [], "an empty mapping sets nothing"),
    ({"a": []}, {"a": None}, Rules(), [], "empty is absence"),
    ({"a": None}, {"a": 1}, Rules(), ["a: 1 -> (unset)"], "an explicit None unsets"),
    ({"a": False}, {"a": 0}, Rules(), ["a: 0 -> False"], "a boolean is no number"),
    ({"cpu": 0.5}, {"cpu": "0.5"}, Rules(), [], "a number and its text are the same"),
    ({"m": "1Gi"}, {"m": "1.0Gi"}, Rules(), [], "quantities are compared by value"),
    ({"m": "1024Mi"}, {"m": "1Gi"}, Rules(), [], "units are compared by value"),
    (
        {"v": "1.10"},
        {"v": "1.1"},
        Rules(),
        ["v: 1.1 -> 1.10"],
        "two texts that look like numbers may be versions",
    ),
    (
        {"c": "0.50"},
        {"c": "0.5"},
        Rules(quantities=["c"]),
        [],
        "unless the rules say they are quantities",
    ),
    (
        {"l": "westus"},
        {"l": "West US"},
        Rules(ignore_case=["l"]),
        [],
        "locations come back in another spelling",
    ),
    (
        {"l": "westus"},
        {"l": "West US"},
        Rules(),
        ["l: West US -> westus"],
        "but only where the rules say so",
    ),
    ({"x": {"y": 1}}, {}, Rules(ignored=["x"]), [], "a rule holds for everything below its path"),
    ({"x": False}, {}, Rules(defaults={"x": False}), [], "Azure leaves defaults out"),
    (
        {"args": ["a", "b"]},
        {"args": ["b", "a"]},
        Rules(),
        ["args: ['b', 'a'] -> ['a', 'b']"],
        "order means something in plain lists",
    ),
    (
        {"env": [{"name": "A", "value": "1"}]},
        {"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "0"}]},
        Rules(lists={"env": "name"}),
        ["env[A].value: 0 -> 1"],
        "entries are found by name, and others are not ours",
    ),
    (
        {"env": [{"name": "A"}]},
        {"env": [{"name": "B"}, {"name": "A"}]},
        Rules(lists={"env": "name"}, whole=["env"]),
        ["env[B]: {'name': 'B'} -> (unset)"],
        "in a list owned whole an extra entry is a change",
    ),
    (
        {"t": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}},
        {"t": {"containers": [{"name": "c", "env": []}]}},
        Rules(lists={"t.containers": "name", "…env": "name"}),
        ["t.containers[c].env[A]: (unset) -> {'name': 'A', 'value': '1'}"],
        "paths leave entries out, and … stands for any beginning",
    ),
    (
        {"p": [{"id": "/Sub/A"}]},
        {"p": [{"id": "/sub/a"}]},
        Rules(lists={"p": "id"}, ignore_case=["p.id"]),
        [],
        "an identifying field may be spelled differently",
    ),
    (
        {"tags": {"a": "1"}},
        {"tags": {"c": "2", "b": "1"}},
        Rules(),
        ["tags.a: (unset) -> 1"],
        "other tags are not ours",
    ),
    (
        {"tags": {"costCenter": "1"}},
        {"tags": {"CostCenter": "2"}},
        Rules(),
        ["tags.costCenter: 2 -> 1"],
        "a name is the same in other letters",
    ),
    (
        {"k": "new"},
        {"k": "old"},
        Rules(secrets=["k"]),
        ["k: (secret) -> (secret)"],
        "secrets are compared, never shown",
    ),
]


@pytest.mark.parametrize(
    ("desired", "observed", "rules", "changes", "reason"), CASES, ids=[case[4] for case in CASES]
)
def test_a_comparison(desired, observed, rules, changes, reason):
    """The table of what counts as a difference."""
    assert [str(change) for change in diff(desired, observed, rules)] == changes, reason


def test_a_change_says_what_it_does():
    """The nearest rule above a path gives the effect of a change there."""
    rules = Rules(effects={"template": "new revision", "location": "replace"})
    changes = diff(
        {"template": {"scale": 1}, "location": "b", "tags": {"x": 1}}, {"location": "a"}, rules
    )
    assert [change.effect for change in changes] == ["new revision", "replace", "update in place"]
