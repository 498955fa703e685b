"""Calls to a share in a resync, counted at a real local Azure with the loop's own kinds: they grow
with what changes and not with how many services there are.
"""

import asyncio

import pytest

from reconciler.api.digest import digest_tree
from reconciler.api.resources import CatalogueAdapter, CatalogueSpec, FolderSpec
from reconciler.composition.environment import share_of
from reconciler.daemon import Daemon
from reconciler.engine.external import Desired, DocumentRef, ObjectKey
from reconciler.engine.store import MEMORY, Store
from reconciler.kinds.share.rounds import AT_ONCE, Rounds
from reconciler.settings import Settings
from tests.e2e.stage import Stage, environment
from tests.kinds.known import Known

RESYNC = 60.0
FEW, MANY = 25, 50  # services, each with a published folder, a catalogue and a history
MOST = AT_ONCE * 1.1 + 1  # a resync may come a tenth early


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("calls")) as stage:
        stage.code("web")
        stage.save(environment("dev"))
        stage.once()
        yield stage


class Services:
    """Services without their apps: what lies on the share for each."""

    def __init__(self, daemon: Daemon, stage: Stage) -> None:
        self.daemon, self.now, self.facts = daemon, 0.0, Known()
        self.folder, self.catalogue = (
            daemon.kinds[name] for name in ("PublishedFolder", "AdapterCatalogue")
        )
        self.folder.clock = lambda: self.now
        daemon.shares.rounds = Rounds(lambda: self.now, RESYNC)
        (names,) = daemon.composition.names.values()
        self.share, self.tree = share_of(names), digest_tree(stage.root / "code-web")
        self.items: list[Desired] = []

    async def add(self, count: int) -> None:
        """Publish what `count` services have, as the loop does."""
        added = [
            item for number in range(count) for item in self._service(len(self.items) // 2 + number)
        ]
        self.items += added
        await asyncio.gather(*map(self._publish, added))
        await self.resync()

    async def resync(self) -> int:
        """Look at everything; how many calls that took."""
        self.now += RESYNC
        before = self.daemon.arm.calls["files"]
        for item in self.items:
            seen = await self.daemon.kinds[item.key.kind].observe(item, self.facts)
            assert seen.exists
            assert not seen.changes
        return self.daemon.arm.calls["files"] - before

    def _service(self, number: int) -> list[Desired]:
        name, adapter = f"s{number:04}", CatalogueAdapter("red", "1" * 64, "adapters/red/1", False)
        document = DocumentRef("InferenceService", name)
        prefix = f"code/{name}/{self.tree.digest[:12]}"
        folder = FolderSpec(self.share, prefix, self.tree.digest, self.tree)
        catalogue = CatalogueSpec(self.share, name, "engine1", (adapter,), ())
        return [
            Desired(ObjectKey("PublishedFolder", f"{name}/{prefix}"), document, folder),
            Desired(ObjectKey("AdapterCatalogue", name), document, catalogue),
        ]

    async def _publish(self, item: Desired) -> None:
        kind = self.daemon.kinds[item.key.kind]
        if not (await kind.observe(item, self.facts)).exists:
            await kind.create(item, self.facts)
        async with asyncio.timeout(60):
            while (seen := await kind.observe(item, self.facts)).busy:
                await asyncio.sleep(0.05)
        self.facts.seen[item.key] = seen.outputs


async def test_calls_of_a_resync_do_not_grow_with_the_services(stage):
    """Twice as many services cost as many calls, and within a few resyncs each has its look."""
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.state, resync=RESYNC)
    async with Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local")) as daemon:
        await daemon.load()
        services = Services(daemon, stage)
        counts = {}
        for size in (FEW, MANY):
            await services.add(size - len(services.items) // 2)
            counts[size] = [await services.resync() for _ in range(4)]
    assert max(counts[FEW]) <= MOST
    assert max(counts[MANY]) <= MOST
    assert min(counts[MANY]) >= AT_ONCE - 1  # they are looked at, all the same
