"""What a person lets one set of documents take over stays the other set's until a write says
otherwise: nothing of it is deleted, whichever kind it is.
"""

import pytest

from reconciler.api.kinds import Kind
from reconciler.arm.ownership import Ownership
from reconciler.daemon import Daemon
from reconciler.engine.store import MEMORY, Store
from reconciler.kinds import kinds_for
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.share.shares import Shares
from reconciler.settings import Settings
from tests.e2e.ground import is_write
from tests.e2e.stage import Stage, environment, service

DOCUMENTS = (environment("dev"), service("web", environment="dev"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """An Environment with a service, made by the set `theirs`."""
    stage = Stage(tmp_path_factory.mktemp("take-over"))
    stage.code("web")
    stage.start_azure()
    stage.save(*DOCUMENTS)
    stage.once("-y", MOORAGE_OWNER="theirs")
    yield stage
    stage.close()


@pytest.fixture
async def daemon(stage):
    """Reads the documents as the set that made everything."""
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.root / "own", owner="theirs")
    async with Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local")) as daemon:
        await daemon.load()
        yield daemon


MADE = [kind for kind in Kind if kind in ("ContainerApp", "EnvironmentStorage", "FileShare")]
MADE += [kind for kind in Kind if kind.tagged and kind not in (*MADE, "Job")]


@pytest.mark.parametrize("kind", MADE)
async def test_what_was_only_allowed_is_not_deleted(stage, daemon, kind):
    """The document that named it goes before the next write: the resource stays."""
    ownership = Ownership("ours", taken=frozenset({"theirs"}))
    target = kinds_for(daemon.arm, ownership, Shares(daemon.arm, ownership))[kind]
    assert isinstance(target, ArmResource)
    item = next(each for each in daemon.composition.desired if each.key.kind == kind)
    found = await target.find(item.spec)
    assert found is not None
    mark = len(stage.journal())
    wrote = await target.delete(target.identify(item))
    assert wrote is not None
    assert "stays: these documents did not make it" in wrote.message
    assert [each for each in stage.journal()[mark:] if is_write(each)] == []


@pytest.mark.parametrize("kind", MADE)
async def test_the_set_that_made_it_may_delete_it(daemon, kind):
    """So it is ownership that kept it above, and nothing else."""
    target = daemon.kinds[kind]
    item = next(each for each in daemon.composition.desired if each.key.kind == kind)
    found = await target.find(item.spec)
    assert target.may_delete(found, item.spec.environment)
