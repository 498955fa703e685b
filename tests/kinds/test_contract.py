"""One contract for every kind of the table, against a real local Azure: a new kind is tested here
unasked.

The tests go through the life of a whole Environment with a service in it, each for every kind:
planned, created, observed, created again, changed, deleted.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest

from reconciler.api import tags
from reconciler.api.digest import digest_tree
from reconciler.api.hub import HubAccess, HubModel
from reconciler.api.kinds import Kind
from reconciler.api.resources import (
    CatalogueAdapter,
    CatalogueSpec,
    GatewayRoutesSpec,
    ShareRef,
)
from reconciler.api.source import SourceRef
from reconciler.arm import files
from reconciler.composition.download import Downloads
from reconciler.composition.environment import share_of
from reconciler.composition.world import World
from reconciler.daemon import Daemon
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from reconciler.sources.runtime import build_runtime
from serving.gateway.routes import HoldLimits
from tests.e2e.ground import is_write
from tests.e2e.stage import Stage, environment, service
from tests.hub import HubStandIn
from tests.kinds.known import Known

KINDS = list(Kind)  # in Azure's order of creation
BY_HAND = {"AdapterCatalogue", "PublishedRoutes", "Job"}
every_kind = pytest.mark.parametrize("kind", KINDS)
FIRST = (environment("dev"), service("web", environment="dev"))
CHANGED = (
    environment(
        "dev",
        tags={"team": "red"},
        logAnalytics={"retentionInDays": 60},
        storage={"quotaGiB": 200},
        workloadProfiles=[
            {"name": "big", "workloadProfileType": "D4", "minimumCount": 0, "maximumCount": 1}
        ],
    ),
    service("web", environment="dev", env=[{"name": "COLOUR", "value": "green"}]),
)


@dataclass
class Bench:
    """Kinds on a connection of their own, and what the documents want of them."""

    daemon: Daemon
    stage: Stage
    desired: list[Desired]
    facts: Known

    def of(self, kind):
        """The kind, and its first object."""
        return self.daemon.kinds[kind], next(item for item in self.desired if item.key.kind == kind)

    async def learn(self):
        """Look at everything, references first."""
        for item in self.desired:
            with suppress(ReconcileError):  # what it stands on may be gone
                seen = await self.look(item)
                if seen.exists:
                    self.facts.seen[item.key] = seen.outputs

    async def look(self, item):
        """Look past every cache."""
        self.daemon.arm.inventory._entries.clear()
        self.daemon.kinds["PublishedFolder"]._looks.clear()
        return await self.daemon.kinds[item.key.kind].observe(item, self.facts)

    async def ended(self, item, wrote):
        """Follow an operation to its end."""
        kind = self.daemon.kinds[item.key.kind]
        while wrote is not None and wrote.operation is not None:
            await asyncio.sleep(0.05)
            progress = await kind.poll(kind.identify(item), wrote.operation)
            assert progress.error is None
            if progress.done:
                return

    async def settled(self, item):
        """Look until nothing runs on the object any more."""
        async with asyncio.timeout(30):
            while (seen := await self.look(item)).busy:
                await asyncio.sleep(0.05)
        return seen

    def since(self, mark):
        return [
            e
            for e in self.stage.journal()[mark:]
            if e["client"].startswith("moorage/") and e["plane"] != "login"
        ]


@pytest.fixture(scope="module")
def hub():
    with HubStandIn(
        "org/tiny",
        {"config.json": b"{}", "model.safetensors": b"x" * 98},
        {"v1": "c0ffee" + "0" * 34},
    ).serving() as standing:
        yield standing


@pytest.fixture(scope="module")
def stage(tmp_path_factory, hub):
    stage = Stage(tmp_path_factory.mktemp("contract"))
    stage.env |= {"HF_ENDPOINT": hub.endpoint}
    stage.code("web")
    stage.start_azure()
    yield stage
    stage.close()


@asynccontextmanager
async def bench_of(stage, documents) -> AsyncIterator[Bench]:
    stage.save(*documents)
    hub = {
        "HF_ENDPOINT": stage.env["HF_ENDPOINT"],
        "HF_TOKEN": "hf_secret" if documents is CHANGED else "",
    }
    settings = Settings.for_local(stage.facts, hub, state_dir=stage.state)
    async with Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local")) as daemon:
        await daemon.load()
        (names,) = daemon.composition.names.values()
        spec = CatalogueSpec(share_of(names), "models", "engine", adapters_of(documents), ())
        document = DocumentRef("InferenceService", "models")
        catalogue = Desired(
            ObjectKey("AdapterCatalogue", "models"),
            document,
            spec,
            (ObjectKey("FileShare", "dev"),),
        )
        hold = HoldLimits(seconds=30 if documents is FIRST else 60)
        routes = Desired(
            ObjectKey("PublishedRoutes", "dev"),
            DocumentRef("Environment", "dev"),
            GatewayRoutesSpec(share_of(names), "gw-dev", (), (), hold),
            (ObjectKey("FileShare", "dev"),),
        )
        by_hand = [catalogue, routes, *downloads_of(daemon, names, documents)]
        yield Bench(
            daemon,
            stage,
            [*daemon.composition.desired, *by_hand],
            Known(),
        )


def downloads_of(daemon, names, documents):
    """The job that would fetch a hub's model, made by hand like the catalogue: a service with a
    model needs vLLM.
    """
    ours = tags.ownership(daemon.ownership.owner_of("dev"), "Environment/dev", "dev")
    tree = digest_tree(build_runtime(daemon.settings.state_dir / "cache"))
    hub = HubAccess(daemon.settings.hf_endpoint, token=bool(daemon.settings.hf_token))
    models = {SourceRef("dev", "hf://org/tiny@v1"): HubModel("c0ffee" + "0" * 34, 100)}
    world = World(
        daemon.settings.subscription_id,
        names.location,
        daemon.ownership.owner_of,
        tree,
        models=models,
        hub=hub,
    )
    return Downloads(names, share_of(names), ours, 1, Policy.MANAGE, world).expand(
        {"hf://org/tiny@v1"}
    )


def adapters_of(documents):
    return (
        ()
        if documents is FIRST
        else (CatalogueAdapter("red", "d" * 64, "adapters/red/dddddddddddd", True),)
    )


@pytest.fixture
async def bench(stage):
    """The documents as first written."""
    async with bench_of(stage, FIRST) as bench:
        yield bench


@pytest.fixture
async def changed(stage):
    """The documents after a change of everything that can change."""
    async with bench_of(stage, CHANGED) as bench:
        yield bench


@every_kind
async def test_what_is_absent_is_said_to_be(bench, kind):
    """Before anything was made: `exists` is False, or what it stands on is not there yet; a look
    writes nothing.
    """
    target, item = bench.of(kind)
    mark = len(bench.stage.journal())
    try:
        assert (await bench.look(item)).exists is False
        assert await target.exists(target.identify(item)) is False
    except NotReadyYet:
        assert item.refs
    assert [entry for entry in bench.since(mark) if is_write(entry)] == []


@every_kind
async def test_what_is_absent_can_be_deleted(bench, kind):
    """Deleting what never was is no error and no write."""
    target, item = bench.of(kind)
    mark = len(bench.stage.journal())
    try:
        assert await target.delete(target.identify(item)) is None or kind in (
            "PublishedFolder",
            "AdapterCatalogue",
            "PublishedRoutes",
        )
    except NotReadyYet:
        assert item.refs
    assert [e for e in bench.since(mark) if is_write(e) and e["status"] < 400] == []


def test_a_plan_and_the_run_after_it_agree(stage):
    """All kinds that documents use: what the plan says is created is created, each once, and
    nothing else is written.
    """
    stage.save(*FIRST)
    plan = [
        line
        for line in stage.json("plan", "-f", str(stage.manifest))["changes"]
        if line["action"] != "no-op"
    ]
    assert {line["action"] for line in plan} == {"create"}
    stage.once()
    created = [event.object for event in stage.events() if event.reason == "Creating"]
    assert sorted(created) == sorted(line["object"] for line in plan)
    assert {name.split("/")[0] for name in created} == set(KINDS) - BY_HAND


@pytest.mark.parametrize("name", ["AdapterCatalogue", "PublishedRoutes"])
async def test_what_only_models_need_is_made(bench, name):
    """Documents with adapters need vLLM; here a catalogue and a gateway's routes are made by hand,
    to be held to the contract like the others.
    """
    kind, item = bench.of(name)
    await bench.ended(item, await kind.create(item, bench.facts))


async def test_the_model_is_fetched(bench):
    """The job is made, then started, and is ready when the model is on the share."""
    runtime = next(item for item in bench.desired if item.key.name.startswith("environments/"))
    await bench.daemon.kinds["PublishedFolder"].create(runtime, bench.facts)
    await bench.learn()
    kind, item = bench.of("Job")
    await bench.ended(item, await kind.create(item, bench.facts))
    async with asyncio.timeout(60):
        while not (seen := await bench.settled(item)).ready:
            if seen.changes:
                await bench.ended(item, await kind.update(item, seen, bench.facts))
            await asyncio.sleep(0.1)
    assert seen.outputs.files == 2


@every_kind
async def test_a_look_only_reads(bench, kind):
    """GET, and reading keys: nothing else. What was made is there, as desired, and ready."""
    await bench.learn()
    target, item = bench.of(kind)
    mark = len(bench.stage.journal())
    seen = await bench.look(item)
    assert await target.exists(target.identify(item)) is True
    assert [entry for entry in bench.since(mark) if is_write(entry)] == []
    assert (seen.exists, seen.ready, seen.busy, seen.changes) == (True, True, False, ())
    assert not seen.provisional
    assert type(seen.outputs) is kind.outputs
    assert type(seen.outputs).load(json.loads(json.dumps(seen.outputs.dump()))) == seen.outputs


@every_kind
async def test_creating_again_changes_nothing(bench, kind):
    """`create` of what exists is accepted and leaves one object, as desired, with the
    same facts.
    """
    await bench.learn()
    target, item = bench.of(kind)
    before = bench.facts.seen[item.key]
    await bench.ended(item, await target.create(item, bench.facts))
    seen = await bench.settled(item)
    assert (seen.exists, seen.changes) == (True, ())
    assert facts_that_stay(seen.outputs) == facts_that_stay(before)


def facts_that_stay(outputs):
    """A catalogue written again has a new generation, which says nothing about its content."""
    return {
        name: value
        for name, value in outputs.dump().items()
        if name not in ("generation", "arm", "replicas")
    }


@every_kind
async def test_an_update_converges(changed, kind):
    """Every difference is named; writing until none is left takes few writes, and a further look
    finds nothing.
    """
    await changed.learn()
    target, item = changed.of(kind)
    if disturb := DISTURB.get(kind):
        await disturb(changed, item)
    else:
        item = replace(item)
    first = await changed.settled(item)
    assert first.changes
    assert all(change.path for change in first.changes)
    writes = 0
    async with asyncio.timeout(60):
        while not is_done(seen := await changed.settled(item)):
            await asyncio.sleep(0.05)
            if seen.changes:
                writes += 1
                assert writes <= 4, seen.changes
                await changed.ended(item, await target.update(item, seen, changed.facts))
    again = await changed.look(item)
    assert (again.exists, again.changes, again.ready) == (True, (), True)


def is_done(seen):
    return seen.ready and not seen.changes and not seen.provisional


async def rotate_key(bench, item):
    """The share's refusal of the old key is how the daemon learns of it, at the lease's next
    renewal.
    """
    share = bench.daemon.shares.open(
        ShareRef("dev", item.spec.resource_group, item.spec.account, "moorage")
    )
    await files.list_directory(share, "code")
    await bench.daemon.arm.storage.storage_accounts.regenerate_key(
        item.spec.resource_group, item.spec.account, {"keyName": "key1"}
    )
    await files.list_directory(share, "code")


async def lose_a_file(bench, item):
    await files.delete(bench.daemon.shares.open(item.spec.share), f"{item.spec.prefix}/app.py")


async def lose_the_model(bench, item):
    """The key was rotated by now, and a storage that has the old one can be mounted no more."""
    kind = bench.daemon.kinds["EnvironmentStorage"]
    for storage in [each for each in bench.desired if each.key.kind == kind.name]:
        await bench.ended(storage, await kind.create(storage, bench.facts))
    await files.delete(
        bench.daemon.shares.open(item.spec.share), f"{item.spec.folder}/.moorage.json"
    )


# What no edit can change: it is another object then, or only Azure knows it.
DISTURB = {"EnvironmentStorage": rotate_key, "PublishedFolder": lose_a_file, "Job": lose_the_model}


@pytest.mark.parametrize("kind", reversed(KINDS))
async def test_deleting_twice_is_deleting_once(changed, kind):
    """Dependents first: each is gone after one delete, and a second one finds nothing and is no
    error.
    """
    await changed.learn()
    target = changed.daemon.kinds[kind]
    for item in [item for item in changed.desired if item.key.kind == kind]:
        await changed.ended(item, await target.delete(target.identify(item)))
        assert (await changed.look(item)).exists is False
        assert await target.exists(target.identify(item)) is False
        mark = len(changed.stage.journal())
        await changed.ended(item, await target.delete(target.identify(item)))
        assert [e for e in changed.since(mark) if is_write(e) and e["status"] < 300] == []
