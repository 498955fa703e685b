"""What must hold of the comparison by each kind's own rules, whatever the two bodies are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.kinds import Kind
from reconciler.engine.diff import Suppression, compare, diff
from reconciler.kinds import rules_of

ARM_KINDS = [kind for kind in Kind if kind.arm]
# Names that rules speak of, so that the walk meets them with values of every shape.
NAMES = st.sampled_from(
    [
        *("properties", "configuration", "template", "containers", "env", "name", "value"),
        *("secrets", "traffic", "identity", "userAssignedIdentities", "type", "tags", "location"),
        *("ingress", "rules", "scale", "custom", "azureQueue", "workloadProfiles", "sku", "Name"),
        *("resources", "cpu", "memory", "networkAcls", "ipRules", "metadata", "accountKey"),
    ]
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(["", "1Gi", "1.0Gi", "0.5", "azure-queue", "Single", "/subscriptions/0/X"]),
    st.text("aA1 ", max_size=3),
)
BODIES = st.dictionaries(
    NAMES,
    st.recursive(
        PLAIN,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)
        ),
        max_leaves=12,
    ),
    max_size=4,
)
every_kind = pytest.mark.parametrize("kind", ARM_KINDS)


@every_kind
@settings(max_examples=50, deadline=None)
@given(asked=BODIES, found=BODIES)
def test_any_two_bodies_are_compared(kind: Kind, asked: Any, found: Any) -> None:
    """No shape is an error, the thorough walk finds the same changes, and no path is both changed
    and suppressed.
    """
    rules = rules_of(kind)
    compared = compare(asked, found, rules)
    assert bool(compared.changes) == bool(diff(asked, found, rules))
    changed = {change.path for change in compared.changes}
    assert not changed & {each.path for each in compared.suppressed}


@every_kind
@settings(max_examples=50, deadline=None)
@given(body=BODIES)
def test_a_body_is_as_it_is(kind: Kind, body: Any) -> None:
    """Nothing differs from itself, and nothing of it is told but what nobody can read back."""
    compared = compare(body, body, rules_of(kind))
    assert compared.changes == ()
    assert {each.why for each in compared.suppressed} <= {
        Suppression.SERVER_DEFAULT,
        Suppression.CASING,
    }


@every_kind
@settings(max_examples=50, deadline=None)
@given(asked=BODIES, found=BODIES)
def test_what_azure_hides_is_never_shown(kind: Kind, asked: Any, found: Any) -> None:
    """A write-only value is masked in every change and every suppressed difference."""
    secret = "not to be shown"
    rules = rules_of(kind)
    path = next(iter(rules.write_only), "")
    if not path:
        return
    parts = path.split(".")
    inner: Any = {"name": "a", "key": "a", parts[-1]: secret}
    for length in range(len(parts) - 1, 0, -1):
        is_list = rules.traits(tuple(parts[:length])).key is not None
        inner = {parts[length - 1]: [inner] if is_list else inner}
    assert secret not in str(compare(inner, found, rules))
    assert secret not in str(compare(asked, inner, rules))
