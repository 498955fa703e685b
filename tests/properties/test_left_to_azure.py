"""What another field of the request leaves to Azure is no difference, and a list entry under another
name is one, whatever Azure adds to it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.api.kinds import Kind
from reconciler.engine.diff import Suppression, compare, diff
from reconciler.kinds import rules_of

APP = rules_of(Kind.APP)
IDS = st.integers(0, 9).map(
    lambda n: f"/subscriptions/0/resourceGroups/rg/providers/Microsoft.ManagedIdentity/uai/{n}"
)
USERS = st.dictionaries(IDS, st.just({}), min_size=1, max_size=3)
with_identity = pytest.mark.parametrize("kind", [Kind.APP, Kind.ENVIRONMENT, Kind.STORAGE_ACCOUNT])
TRAFFIC = st.lists(
    st.fixed_dictionaries(
        {"revisionName": st.text("ab", min_size=1), "weight": st.integers(0, 100)},
        optional={"label": st.text("lm", min_size=1)},
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda entry: entry["revisionName"],
)


@with_identity
@settings(max_examples=30, deadline=None)
@given(users=USERS, kind_of=st.sampled_from(["None", "SystemAssigned", "systemassigned"]))
def test_a_type_without_user_identities_drops_those_that_stood_before(
    kind: Kind, users: Any, kind_of: str
) -> None:
    """A PATCH of the type alone keeps the map in the merged body, and Azure drops it."""
    asked = {"identity": {"type": kind_of, "userAssignedIdentities": users}}
    found = {"identity": {"type": kind_of}}
    compared = compare(asked, found, rules_of(kind))
    assert compared.changes == ()
    assert [each.why for each in compared.suppressed] == [Suppression.READ_ONLY]
    asked["identity"]["type"] = f"{kind_of},UserAssigned"
    changed = {change.path for change in diff(asked, found, rules_of(kind))}
    assert "identity.type" in changed
    assert len(changed) == 1 + len(users)


@with_identity
@settings(max_examples=30, deadline=None)
@given(there=USERS, gone=IDS)
def test_a_null_removes_one_identity_and_speaks_of_no_other(
    kind: Kind, there: Any, gone: str
) -> None:
    """A map with a null is a PATCH, which leaves alone what it does not name; without a null the
    map is all that is to be there.
    """
    asked: Any = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {gone: None}}}
    found = {"identity": {"type": "UserAssigned", "userAssignedIdentities": there}}
    left = [change.path for change in diff(asked, found, rules_of(kind))]
    assert left == ([f"identity.userAssignedIdentities[{gone}]"] if gone in there else [])
    asked["identity"]["userAssignedIdentities"] = {gone: {}}
    assert len(diff(asked, found, rules_of(kind))) == len({gone} ^ there.keys())


@settings(max_examples=50, deadline=None)
@given(found=TRAFFIC, asked=st.sampled_from([None, []]), mode=st.sampled_from(["Labels", "labels"]))
def test_traffic_by_labels_is_azures(found: Any, asked: Any, mode: str) -> None:
    """In the mode Labels Azure writes the traffic that nobody asked for; in Multiple mode traffic
    that is not the default is somebody's, and asked traffic is compared in every mode.
    """

    def body(traffic: Any, mode: str) -> dict[str, Any]:
        configuration = {"activeRevisionsMode": mode, "ingress": {"traffic": traffic}}
        return {"properties": {"configuration": configuration}}

    assert diff(body(asked, mode), body(found, "Labels"), APP) == ()
    assert diff(body(asked, "Multiple"), body(found, "Multiple"), APP)
    other = [{**found[0], "weight": found[0]["weight"] + 1}, *found[1:]]
    assert len(diff(body(other, mode), body(found, "Labels"), APP)) == 1


@settings(max_examples=50, deadline=None)
@given(st.text("abc", min_size=1), st.text("def", min_size=1), st.integers(1, 9))
def test_another_name_is_one_change(name: str, other: str, length: int) -> None:
    """A scale rule that Azure rewrote and an add-on's binding that Azure completed are one change
    when only the name differs; another type of rule is the change of its type.
    """
    custom = {"type": "azure-queue", "metadata": {"queueName": "q", "queueLength": str(length)}}
    queue = {"queueName": "q", "queueLength": length}

    def rules(entry: dict[str, Any]) -> dict[str, Any]:
        return {"properties": {"template": {"scale": {"rules": [entry]}}}}

    def binds(**entry: str) -> dict[str, Any]:
        return {"properties": {"template": {"serviceBinds": [{"serviceId": "/s", **entry}]}}}

    found = rules({"name": other, "azureQueue": queue})
    for asked, shown, path in (
        (rules({"name": name, "custom": custom}), found, f"scale.rules[{name}].name"),
        (
            rules({"name": other, "custom": {**custom, "type": "kafka"}}),
            found,
            f"scale.rules[{other}].custom.type",
        ),
        (binds(name=name), binds(name=other, clientType="none"), f"serviceBinds[{name}].name"),
    ):
        for changes in (diff(asked, shown, APP), compare(asked, shown, APP).changes):
            assert [change.path for change in changes] == [f"properties.template.{path}"]
    assert diff(binds(name=name), binds(name=name, clientType="none"), APP) == ()
