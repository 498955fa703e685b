"""A document with an adapter that cannot be served: everything else of it is, from the first
deployment on, and every command names the adapter at its line.
"""

import os
import shutil

import pytest

from reconciler.daemon import Daemon
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from reconciler.single_run import plan
from tests.e2e.model_service import documents
from tests.e2e.stage import Stage
from tests.tiny_model import make_adapter, make_model

pytestmark = pytest.mark.e2e
TINY = DocumentRef("InferenceService", "tiny")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("unfit")) as stage:
        make_model(stage.root / "model")
        yield stage


@pytest.fixture
def blue(stage):
    """The folder of the torn adapter; the other one is whole."""
    shutil.rmtree(stage.root / "adapters", ignore_errors=True)
    for word in ("red", "blue"):
        make_adapter(stage.root / "adapters" / word, word, model=stage.root / "model", rank=24)
    os.truncate(stage.root / "adapters/blue/adapter_model.safetensors", 500)
    stage.save(documents("red", "blue"))
    return stage.root / "adapters" / "blue"


@pytest.fixture
async def daemon(stage, blue):
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.state)
    async with Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local")) as daemon:
        yield daemon


def parts(composition):
    found = {item.key.kind: item.spec for item in composition.desired}
    return found["AdapterCatalogue"].adapters, found["ContainerApp"].template


async def test_the_rest_of_the_document_is_wanted(daemon, stage, blue):
    """From the first reading on. A repaired adapter joins the others without a new revision, and
    when it is torn again nothing changes for the engine.
    """
    composition = await daemon.load()
    assert composition.refusals == {}
    (red, unfit), template = parts(composition)
    assert (bool(red.digest), red.fault, unfit.digest) == (True, "", "")
    assert f"{stage.manifest}:" in unfit.fault
    assert "adapter 'blue' cannot be served: " in unfit.fault
    (event,) = [each for each in daemon.store.events() if each.reason == "AdapterFailed"]
    assert (event.type, event.message, event.document) == ("Warning", unfit.fault, TINY)
    assert "AdapterCatalogue" in {line.key.kind for line in await plan(daemon)}
    make_adapter(blue, "blue", 1, model=stage.root / "model", rank=24)
    (_, mended), after = parts(await daemon.load())
    assert (bool(mended.digest), mended.fault, after) == (True, "", template)
    os.truncate(blue / "adapter_model.safetensors", 500)
    assert parts(await daemon.load())[1] == template


async def test_it_is_named_by_every_command(stage, blue):
    """`validate` ends with 2; `plan` shows it beside what a run would do, and ends with 1."""
    said = stage.moorage("validate", "-f", str(stage.manifest), code=2).stderr
    assert f"{stage.manifest}:" in said
    shown = stage.moorage("plan", "-f", str(stage.manifest), code=1).stdout
    assert "adapter 'blue' cannot be served" in " ".join(shown.split())
    assert "1 refused" in shown
    assert "ContainerApp/tiny" in shown


async def test_a_folder_that_is_no_adapter_is_not_hashed(daemon, stage, blue):
    """A model in an adapter's place, of any size, costs the adapter and no time."""
    for file in blue.iterdir():
        file.unlink()
    with (blue / "model.safetensors").open("wb") as sparse:
        sparse.truncate(100 << 30)
    (red, unfit), _ = parts(await daemon.load())
    assert (bool(red.digest), unfit.digest) == (True, "")
    assert blue not in daemon.intake.snapshot.trees
