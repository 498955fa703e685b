"""docs/documents.md: every field with its default, and what its last column says is what
composition does.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.api.digest import File, Tree
from reconciler.api.evaluation import read_evaluation
from reconciler.api.manifest import load
from reconciler.api.source import SourceRef
from reconciler.composition import compose
from reconciler.composition.world import World
from tests.docs.changes import BEFORE, CHANGES
from tests.docs.fields import (
    EFFECTS,
    HOT,
    NEVER,
    NOTHING,
    OTHER,
    PAGE,
    REFUSED,
    REVISION,
    effect,
    fields,
    with_tables,
)

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
RUNTIME = Tree("a" * 64, {"serving/__init__.py": File(1, "b" * 64, Path("x"))})
CASES = [
    (what, path, value) for what, changes in CHANGES.items() for path, value in changes.items()
]


def test_the_tables_are_the_schema():
    """Every field, default and description of the page is the schema's; `python -m
    tests.docs.fields` writes them.
    """
    assert PAGE.read_text() == with_tables(PAGE.read_text())


@pytest.mark.parametrize("kind", EFFECTS)
def test_every_field_has_a_case_here_and_no_effect_is_of_a_field_that_is_gone(kind):
    """A new field cannot come without somebody trying what a change of it does."""
    known = {field.path for field in fields(kind)}
    services = [each for what, each in CHANGES.items() if what != "Environment"]
    tried = [CHANGES[kind]] if kind in CHANGES else services
    assert known == set().union(*tried)
    assert set(EFFECTS[kind]) <= known


@pytest.mark.parametrize(
    ("what", "path", "value"), CASES, ids=[f"{what} {path}" for what, path, _ in CASES]
)
def test_a_change_is_what_the_page_says(tmp_path, what, path, value):
    """The word in the last column is what composition makes of the change."""
    documents = deepcopy(BEFORE)
    before = _composed(tmp_path, documents)
    _put(documents[what], path, value)
    after = _composed(tmp_path, documents)

    said = effect("Environment" if what == "Environment" else "InferenceService", path)
    assert _word(before, after, what) == said


def _composed(tmp_path, documents):
    file = tmp_path / "documents.yaml"
    services = [documents[what] for what in ("model", "code", "chat", "vault")]
    name, second = (
        documents["Environment"]["metadata"]["name"],
        {"kind": "Environment", "metadata": {"name": "second"}},
    )
    for service in services:
        if name != "dev":
            service["spec"]["environment"] = name
    with file.open("w") as out:
        YAML().dump_all([documents["Environment"], second, *services], out)
    # Adapters on the share are mirrored before composition, so they are folders here.
    fetched = {
        SourceRef(service["spec"]["environment"], f"share://{each}"): Path("/cache", each)
        for service in services
        for each in ("a", "b", "other")
    }
    files = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    for evaluation in files:
        evaluation.write_text(f'{{"prompt": "{evaluation.stem}", "expect": "x"}}')
    evaluations = {each: read_evaluation(each, []) for each in files}
    trees = {folder: Tree(folder.name[0] * 64, RUNTIME.files) for folder in fetched.values()}
    homes = {"phi": "dev", "web": "dev", "chat": "dev", "vault": "dev"}
    secrets = {
        (service["metadata"]["name"], secret["name"]): str(secret["valueFrom"])
        for service in services
        for secret in service["spec"].get("secrets", ())
        if "valueFrom" in secret
    }
    world = World(
        SUBSCRIPTION,
        "swedencentral",
        lambda name: documents["Environment"]["spec"].get("owner", f"{name}-owner"),
        RUNTIME,
        trees=trees,
        homes=homes,
        fetched=fetched,
        gateway=RUNTIME,
        secrets=secrets,
    )
    return compose(load([file]).documents, replace(world, evaluations=evaluations))


def _put(node, path, value):
    *parents, last = path.replace("[]", ".-1").split(".")
    for part in parents:
        node = node[-1] if part == "-1" else node.setdefault(part, {})
    node[last] = value


def _word(before, after, what):
    """What a difference between two compositions means to what runs."""
    kinds = ("Environment",) if what == "Environment" else ("InferenceService",)
    mine = {"Environment": "dev", "model": "phi", "code": "web"}.get(what, what)
    old, new = (
        {d.key: d for d in each.desired if d.document.kind in kinds} for each in (before, after)
    )
    if not any(d.document.name == mine for d in new.values()):
        return REFUSED if {str(r) for r in after.refusals} & {f"{kinds[0]}/{mine}"} else OTHER
    suffixes = [
        {d.key: d.spec.suffix for d in each.desired if d.key.kind == "ContainerApp"}
        for each in (before, after)
    ]
    if suffixes[0].keys() != suffixes[1].keys():
        return OTHER
    if suffixes[0] != suffixes[1]:
        return REVISION
    pairs = [(_written(old[key]), _written(new[key])) for key in old if key in new]
    for field, word in (("resource_group", REFUSED), ("name", None)):
        moved = [
            one.key.kind
            for one, other in pairs
            if getattr(one.spec, field, None) != getattr(other.spec, field, None)
        ]
        if moved:
            return word or (NEVER if "FileShare" in moved else REFUSED)
    if any(_location(one) != _location(other) for one, other in pairs):
        return REFUSED
    changed = [pair for pair in pairs if pair[0].spec != pair[1].spec]
    if any(
        one.key.kind == "StorageAccount" and one.spec.body["sku"] != other.spec.body["sku"]
        for one, other in changed
    ):
        return "waits for a person"
    return HOT if changed or old.keys() != new.keys() else _policy(pairs)


def _written(item):
    """How a rollout goes, and whether an app may be taken over, is in no write of its own."""
    return (
        replace(
            item,
            spec=replace(item.spec, strategy="Auto", steps=(), smoke=("/", None), named=False),
        )
        if item.key.kind == "ContainerApp"
        else item
    )


def _policy(pairs):
    """A policy is in the desired objects and in no spec: the daemon follows it, Azure never hears
    of it.
    """
    assert all(
        replace(one, policy=other.policy, retain=other.retain) == other for one, other in pairs
    )
    return NOTHING


def _location(item):
    return getattr(item.spec, "body", {}).get("location")
