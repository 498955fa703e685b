"""What is expanded again after a save, and that nobody can tell from the result."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.api.digest import File, Tree
from reconciler.api.manifest import load
from reconciler.composition import compose
from reconciler.composition.expansions import Expansions
from reconciler.composition.world import Registered
from reconciler.engine.external import DocumentRef
from tests.composition.test_compose import SERVICE, world

NAMES = ("phi", "chat", "sales")


def write(folder, name, length):
    text = SERVICE.format(length=length, more="").replace("name: phi", f"name: {name}")
    (folder / f"{name}.yaml").write_text(text)


def test_a_save_expands_its_own_document_alone(tmp_path):
    """What the others expanded to is taken as it was; the whole is as if it was made anew."""
    known, before, same = {}, Expansions(), world()
    for name in NAMES:
        write(tmp_path, name, 512)
    first = compose(load([tmp_path], known).documents, same, before)
    write(tmp_path, "chat", 1024)
    documents = load([tmp_path], known).documents
    now = replace(same, generations={DocumentRef("InferenceService", "chat"): 2})
    second = compose(documents, now, before)
    assert second == compose(documents, now)
    kept = {id(item) for item in first.desired}
    anew = {str(item.document) for item in second.desired if id(item) not in kept}
    assert "InferenceService/chat" in anew
    assert not anew & {"InferenceService/phi", "InferenceService/sales"}


CODE = """\
kind: InferenceService
metadata: {{name: {name}}}
spec: {{code: ./{name}, command: [run], targetPort: 80}}
"""


def test_a_folder_that_changed_expands_the_services_that_name_it_alone(tmp_path):
    """New code of one service is no business of the others."""
    for name in NAMES:
        (tmp_path / f"{name}.yaml").write_text(CODE.format(name=name))
        (tmp_path / name).mkdir()
    documents, before = load([tmp_path]).documents, Expansions()
    trees = {tmp_path / name: Tree(str(at) * 64, {}) for at, name in enumerate(NAMES)}
    first = compose(documents, old := world(trees=trees), before)
    now = replace(old, trees={**trees, tmp_path / "chat": Tree("9" * 64, {})})
    second = compose(documents, now, before)
    assert second == compose(documents, now) != first
    kept = {id(item) for item in first.desired}
    anew = {str(item.document) for item in second.desired if id(item) not in kept}
    assert "InferenceService/chat" in anew
    assert not anew & {"InferenceService/phi", "InferenceService/sales"}


@pytest.mark.parametrize(
    "change",
    [
        {"rotations": {"phi": (("default", "2"),)}},
        {"registered": {"default": Registered("2")}},
        {"homes": {"phi": "other"}},
        {"runtime": Tree("c" * 64, {"serving/__init__.py": File(2, "d" * 64, Path("y"))})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_world_is_another_expansion(tmp_path, change):
    """What does not stand in the documents counts as well."""
    before = Expansions()
    write(tmp_path, "phi", 512)
    documents = load([tmp_path]).documents
    old = compose(documents, same := world(), before)
    now = replace(same, **change)
    assert compose(documents, now, before) == compose(documents, now)
    assert compose(documents, now, before) != old
