"""Documents for what is there: what is read from where."""

from pathlib import Path

import pytest

from reconciler.api.digest import File, Tree
from reconciler.api.kinds import Kind
from reconciler.api.manifest import parse
from reconciler.api.source import SourceRef
from reconciler.composition import compose
from reconciler.composition.found_documents import as_revision, later_revision
from reconciler.composition.world import World


def test_a_revision_takes_the_periods_that_azure_leaves_out_from_its_app():
    """Azure says null for the cooldown period in a revision's template; what the revision says
    itself stays.
    """
    app = {
        "properties": {
            "template": {"scale": {"cooldownPeriod": 601, "pollingInterval": 30, "maxReplicas": 9}}
        }
    }
    template = {"scale": {"cooldownPeriod": None, "maxReplicas": 2}}
    read = as_revision(app, "web--a", template)
    scale = read["properties"]["template"]["scale"]
    assert scale == {"cooldownPeriod": 601, "pollingInterval": 30, "maxReplicas": 2}
    bare = as_revision({"properties": {"template": {"scale": None}}}, "web--a", {"x": 1})
    assert bare["properties"]["template"] == {"x": 1}


def test_a_revision_that_serves_beside_a_later_one_is_named():
    """Azure says the cooldown period of the latest one alone, and a run ends the latest one."""
    app = {"name": "web", "properties": {"template": {}, "latestRevisionName": "web--b"}}
    said = later_revision(as_revision(app, "web--a", {}))
    assert said is not None
    assert "what web--a serves" in said
    assert "the cooldown period of web--b" in said
    assert later_revision(as_revision(app, "web--b", {})) is None
    assert later_revision(app) is None


SUBSCRIPTION = "0" * 8 + "-0000-0000-0000-" + "0" * 12
RUNTIME = Tree("a" * 64, {"serving/__init__.py": File(1, "b" * 64, Path("x"))})


def template_of(file, source, size):
    """The template and the predicted seconds of a start."""
    text = f"""
kind: InferenceService
metadata: {{name: phi}}
spec: {{model: {{source: "{source}"}}}}
"""
    tree = Tree("c" * 64, {"model.safetensors": File(size, "d" * 64, Path("x"))})
    world = World(
        SUBSCRIPTION,
        "westus3",
        str,
        RUNTIME,
        trees={file.parent / "phi": tree},
        sizes={SourceRef("default", source): size},
    )
    found = compose(parse(file, text.encode()), world)
    (app,) = [item.spec for item in found.desired if item.key.kind == Kind.APP]
    return app.template, app.startup_seconds


# Rounded up, 5.01 GiB give the startup probe another period, and the service a new revision.
@pytest.mark.parametrize("size", [1, 10**9, int(5.01 * 2**30), 50 * 10**9])
def test_a_published_model_counts_as_its_folder_did(tmp_path, size):
    """`import azure` names a model by its folder on the share, which is named by its content: the
    template stays as the local folder made it. A model that anybody may edit is rounded.
    """
    (tmp_path / "phi").mkdir()
    file = tmp_path / "moorage.yaml"
    made = template_of(file, "./phi", size)
    assert template_of(file, "share://models/phi/" + "c" * 12, size) == made
    assert template_of(file, "share://models/phi", size)[1] > made[1]
