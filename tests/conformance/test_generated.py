"""The comparison holds for every field of Azure's published types, and not just for those that
somebody wrote while we recorded.
"""

import copy
import re
from typing import Any

import pytest

from reconciler.api.kinds import Kind
from reconciler.engine.diff import compare, diff
from reconciler.engine.rules import Rules
from reconciler.kinds import rules_of
from tests.conformance import generated, types
from tests.conformance.generated import Leaf
from tests.conformance.types import READ_ONLY, WRITE_ONLY

pytestmark = pytest.mark.skipif(
    types.folder() is None, reason="there is no type data (MOORAGE_TYPES)"
)
BODIES = [
    pytest.param(rules_of(kind), leaves, id=f"{kind.module}-{version}")
    for kind in Kind
    if kind.arm and types.folder()
    for version, leaves in generated.bodies(kind.arm.name)
]
every_body = pytest.mark.parametrize(("rules", "leaves"), BODIES)
ORDERED = ("args", "command")  # lists of plain values whose order means something
STATE = "properties.networkAcls.virtualNetworkRules.state"  # older types call it writable


def asked_of(leaves: list[Leaf]) -> dict[str, Any]:
    return generated.body([leaf for leaf in leaves if not leaf.flags & READ_ONLY])


def with_value(body: dict[str, Any], leaf: Leaf, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    inner: Any = changed
    for step in leaf.at[:-1]:
        inner = inner[step]
    inner[leaf.at[-1]] = value
    return changed


def other(value: Any) -> Any:
    if isinstance(value, list):
        return [*value, "more"]
    if isinstance(value, bool):
        return not value
    return value + 5 if isinstance(value, int) else f"{value}-other"


def changed_paths(asked: Any, found: Any, rules: Rules) -> list[str]:
    changes = compare(asked, found, rules).changes
    return [re.sub(r"\[[^\]]*\]", "", change.path) for change in changes]


@every_body
def test_each_writable_field_is_compared(rules, leaves):
    """Altered on either side, it is the only change, and the change is at its path."""
    asked, found = asked_of(leaves), generated.body(leaves)
    wrong = {
        leaf.path: paths
        for leaf in leaves
        if not leaf.flags & (READ_ONLY | WRITE_ONLY) and leaf.path != STATE
        for value in [other(leaf.value)]
        for pair in [
            (with_value(asked, leaf, value), found),
            (asked, with_value(found, leaf, value)),
        ]
        if (paths := changed_paths(*pair, rules)) != [leaf.path] or not diff(*pair, rules)
    }
    assert wrong == {}


def reversed_lists(value: Any, rules: Rules, path: tuple[str, ...] = ()) -> Any:
    """The body with every list turned round whose entries have a name; probes have none, because
    two may be of one type.
    """
    if isinstance(value, dict):
        return {name: reversed_lists(v, rules, (*path, name)) for name, v in value.items()}
    if not isinstance(value, list):
        return value
    entries = [reversed_lists(each, rules, path) for each in value]
    named = rules.traits(path).key is not None and path[-1] != "probes"
    return entries[::-1] if named else entries


def respelled(leaf: Leaf, how: str) -> Any:
    value = leaf.value
    if isinstance(value, list):
        return value
    if leaf.kind == "word":
        return {"upper": value.upper(), "lower": value.lower()}.get(how, value)
    if how == "texts" and leaf.kind in ("number", "flag"):
        return str(value).lower()
    if how == "floats" and leaf.kind == "number":
        return float(value)
    return {"hidden": None if leaf.flags & WRITE_ONLY else value}.get(how, value)


@every_body
@pytest.mark.parametrize("how", ["upper", "lower", "texts", "floats", "hidden"])
def test_another_spelling_is_no_change(rules, leaves, how):
    """Enums in any case, numbers and flags as texts, hidden values as null, what Azure computes
    added: nothing is left to do.
    """
    spelled = [Leaf(each.at, each.path, respelled(each, how), each.kind) for each in leaves]
    assert diff(asked_of(leaves), generated.body(spelled), rules) == ()


@every_body
def test_the_order_of_named_entries_means_nothing(rules, leaves):
    """A list is a set unless its order says something, as that of arguments does."""
    found = generated.body(leaves)
    assert diff(asked_of(leaves), reversed_lists(found, rules), rules) == ()
    for leaf in leaves:
        if isinstance(leaf.value, list) and leaf.value and not leaf.flags & READ_ONLY:
            turned = with_value(found, leaf, leaf.value[::-1])
            ordered = leaf.path.rpartition(".")[2] in ORDERED
            assert bool(diff(asked_of(leaves), turned, rules)) == ordered, leaf.path


@every_body
def test_every_list_of_objects_says_how_its_entries_are_told_apart(rules, leaves):
    """A list of objects without a name would be compared by position."""
    for leaf in leaves:
        for depth, step in enumerate(leaf.at):
            if isinstance(step, int) and not leaf.flags & READ_ONLY:
                path = tuple(each for each in leaf.at[:depth] if isinstance(each, str))
                traits = rules.traits(path)
                assert traits.key is not None or traits.read_only, ".".join(path)
