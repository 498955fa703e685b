"""Environments that name one resource group, workspace or account."""

from itertools import permutations

import pytest

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.api.manifest import load
from reconciler.composition import compose
from tests.composition.test_compose import TREE, World, world

NAMED = {
    Kind.RESOURCE_GROUP: "resourceGroup: rg-shared",
    Kind.WORKSPACE: "resourceGroup: rg-shared, logAnalytics: {name: law-shared}",
    Kind.STORAGE_ACCOUNT: "resourceGroup: rg-shared, storage: {accountName: stshared}",
}


def document(name, spec):
    return (
        f"kind: Environment\nmetadata: {{name: {name}}}\nspec: {{{spec}, tags: {{by: {name}}}}}\n"
    )


def bodies(tmp_path, kind, texts, of=world):
    file = tmp_path / "moorage.yaml"
    file.write_text("---\n".join(texts))
    found = compose(load([file]).documents, of())
    return [item.spec.body for item in found.desired if item.key.kind == kind]


def one_owner():
    return World("0", "swedencentral", lambda _: "the-owner", TREE)


@pytest.mark.parametrize("kind", NAMED)
def test_they_ask_for_the_same_in_any_order(kind, tmp_path):
    """In the words of the first by name, so that none of them undoes what another one wrote."""
    texts = [document(name, NAMED[kind]) for name in ("b", "a", "c")]
    for order in permutations(texts):
        found = bodies(tmp_path, kind, order, one_owner)
        assert len(found) == 3
        assert all(body == found[0] for body in found)
        assert found[0]["tags"][tags.ENVIRONMENT] == found[0]["tags"]["by"] == "a"


def test_each_asks_for_its_own_otherwise(tmp_path):
    """Other names, or another owner."""
    other = [document(name, f"resourceGroup: rg-{name}") for name in ("a", "b")]
    shared = [document(name, NAMED[Kind.RESOURCE_GROUP]) for name in ("a", "b")]
    for texts, of in ((other, one_owner), (shared, world)):
        found = bodies(tmp_path, Kind.RESOURCE_GROUP, texts, of)
        assert [body["tags"]["by"] for body in found] == ["a", "b"]
