"""Which folders of the share a replica with a model mounts."""

import json

import pytest

from reconciler.api.digest import Tree
from reconciler.api.manifest import load
from reconciler.composition import compose
from tests.composition.test_compose import SERVICE, TREE, service, world


def model_mounts(app):
    (container,) = app.spec.template["containers"]
    return {each["mountPath"]: each for each in container["volumeMounts"]}


def with_adapter(tmp_path):
    folder = tmp_path / "style"
    folder.mkdir(exist_ok=True)
    more = "  adapters: [{name: style, source: ./style}]"
    (tmp_path / "moorage.yaml").write_text(SERVICE.format(length=512, more=more))
    trees = {folder.resolve(): Tree("d" * 64, TREE.files)}
    found = compose(load_without_looking(tmp_path / "moorage.yaml"), world(trees=trees))
    return next(item for item in found.desired if item.key.kind == "ContainerApp")


def load_without_looking(file):
    """The documents, without a look into the adapter's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.api.manifest.adapter_faults", lambda _: ())
        patch.setattr("reconciler.api.manifest.room_problems", lambda _: ())
        return load([file]).documents


@pytest.mark.parametrize("adapters", [False, True])
def test_a_replica_with_a_model_mounts_its_own_folders_alone(tmp_path, adapters):
    """The runtime, the model, what is said to the service, and adapters where it has any; all of
    it for reading but the folder of its reports.
    """
    app = with_adapter(tmp_path) if adapters else service(tmp_path)
    mounts = model_mounts(app)
    read = {one["subPath"] for one in mounts.values() if one["volumeName"] == "share"}
    assert read == {"runtime/aaaaaaaaaaaa", "models/phi", "services/phi"} | (
        {"adapters"} if adapters else set()
    )
    assert all(
        path == f"/mnt/moorage/{one['subPath']}"
        for path, one in mounts.items()
        if one["volumeName"] == "share"
    )
    (written,) = [one for one in mounts.values() if one["volumeName"] == "reports"]
    assert written["subPath"] == f"services/phi/{app.spec.engine}/replicas"
    named = json.dumps(app.spec.template["containers"][0]["args"])
    assert all(
        word.startswith("/mnt/moorage/models/phi") for word in named.split('"') if "/mnt" in word
    )


def test_narrower_mounts_are_no_new_revision(tmp_path):
    """An update of Moorage boots no GPU: the name is the one of the time when a replica mounted
    the whole share, and a service takes its own folders with its next revision.
    """
    assert service(tmp_path).spec.suffix == "rcdd548602"
