"""The kinds on a real local Azure, with an Environment and a service in it: what the contract tests of the
kinds stand on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from reconciler.api import tags
from reconciler.api.digest import digest_tree
from reconciler.api.hub import HubAccess, HubModel
from reconciler.api.kinds import Kind
from reconciler.api.resources import (
    CatalogueAdapter,
    CatalogueSpec,
    GatewayRoutesSpec,
)
from reconciler.api.source import SourceRef
from reconciler.composition.download import Downloads
from reconciler.composition.environment import share_of
from reconciler.composition.world import World
from reconciler.daemon import Daemon
from reconciler.engine.errors import ReconcileError
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Observation, Policy
from reconciler.engine.facts import FactBook
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from reconciler.sources.runtime import build_runtime
from serving.gateway.routes import HoldLimits
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
    service(
        "web",
        environment="dev",
        env=[
            {"name": "COLOUR", "value": "green"},
            {"name": "TOKEN", "valueFrom": {"secretRef": "token"}},
        ],
        secrets=[{"name": "token", "valueFrom": {"file": "./code-web/app.py"}}],
        identity={"type": "SystemAssigned"},
        registries=[
            {"server": "phi.azurecr.io", "username": "phi", "passwordSecretRef": "token"},
            {"server": "psi.azurecr.io", "identity": "system"},
        ],
    ),
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

    def book(self):
        """The facts as the loop keeps them, of what was learnt."""
        book = FactBook(lambda _key: {})
        for key, outputs in self.facts.seen.items():
            book.see(key, Observation(True, outputs=outputs))
            book.set_open(key, is_open=True)
        return book

    async def look(self, item):
        """Look past every cache."""
        inventory = self.daemon.arm.inventory
        for known in (inventory._entries, inventory._answers, inventory._made, inventory._missing):
            known.clear()
        self.daemon.kinds["PublishedFolder"]._looks.clear()
        return await self.daemon.kinds[item.key.kind].observe(item, self.facts)

    async def ended(self, item, wrote):
        """Follow an operation to its end."""
        kind = self.daemon.kinds[item.key.kind]
        while wrote is not None and wrote.operation is not None:
            await asyncio.sleep(0.05)
            progress = await kind.poll(kind.identify(item), wrote.operation.token)
            assert progress.error is None
            if progress.done:
                return

    async def settled(self, item):
        """Look until nothing runs on the object any more."""
        async with asyncio.timeout(90):
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


def is_done(seen):
    return seen.ready and not seen.changes and not seen.provisional
