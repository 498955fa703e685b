"""A model on the share is as large as its files, and what depends on its size (probes, deadline,
cooldown) does not change while nobody can look.
"""

import pytest

from reconciler.arm import files
from reconciler.composition import template
from reconciler.composition.environment import share_of
from reconciler.daemon import Daemon
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from tests.e2e.stage import Stage, environment

pytestmark = pytest.mark.e2e
GIB = 1 << 30
DOCUMENT = {
    "kind": "InferenceService",
    "metadata": {"name": "phi"},
    "spec": {"environment": "dev", "model": {"source": "share://models/phi"}},
}


@pytest.fixture
def running(tmp_path):
    """An Environment with its share, which is empty."""
    with Stage(tmp_path) as stage:
        stage.save(environment("dev"))
        stage.once()
        stage.save(environment("dev"), DOCUMENT)
        yield stage


def started(stage):
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.state)
    return Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local"))


def share(daemon):
    return daemon.shares.open(share_of(daemon.composition.names["dev"]))


async def put(daemon, name, size):
    """A file of so many bytes; none of them is sent."""
    path = f"models/phi/{name}"
    await files.make_parents(share(daemon), [path])
    headers = {"x-ms-type": "file", "x-ms-content-length": str(size)}
    await share(daemon).request("PUT", path, headers=headers)


def app(composition):
    found = (item.spec for item in composition.desired if item.key.kind == "ContainerApp")
    return next(found, None)


async def test_what_depends_on_the_size_follows_the_files(running):
    """The service waits until the model is there and whole; then everything is as long as its size
    asks for, and stays so in another process that cannot see the share.
    """
    assert "put them there" in running.once(code=4).stdout, "a person must act"
    assert "put them there" in running.moorage("plan", "-f", str(running.manifest)).stdout
    async with started(running) as daemon:
        daemon.remote.quiet_period.seconds = 0.0
        refusal = (await daemon.load()).refusals[DocumentRef("InferenceService", "phi")]
        assert (refusal.reason, refusal.waits) == ("Missing", True)
        await put(daemon, "config.json", 700)
        await put(daemon, "model-1.safetensors", 40 * GIB)
        daemon.remote.quiet_period.seconds = 3600.0
        refusal = (await daemon.load()).refusals[DocumentRef("InferenceService", "phi")]
        assert (refusal.reason, refusal.waits) == ("Fetching", True)
        daemon.remote.quiet_period.seconds = 0.0
        before = app(await daemon.load())
        size = 41 * GIB
        assert before.template["scale"]["cooldownPeriod"] == template.cooldown(size)
        assert template.cooldown(size) > template.startup_seconds(size) == before.startup_seconds
        assert before.deadline_seconds == template.model_deadline(size)
        await put(daemon, "README.md", 100)
        assert app(await daemon.load()).revision == before.revision, "the size in whole GiB"
    async with started(running) as daemon:
        daemon.remote.quiet_period.seconds = 3600.0  # somebody writes to the folder
        assert app(await daemon.load()).revision == before.revision
        await files.delete_tree(share(daemon), "models")
        assert app(await daemon.load()).revision == before.revision
