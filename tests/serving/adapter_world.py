"""The adapter loop over an engine that only notes what it is told, with real copies and real
preflight.
"""

import asyncio

import pytest

from serving.adapters import Adapters
from serving.catalogue import AdapterVersion
from serving.local_copy import LocalCopies
from serving.proof import Proof
from tests.serving.replica_share import ReplicaShare
from tests.tiny_model import make_adapter, make_model


class Engine:
    """Keeps what is loaded and published; `broken` names keys whose load fails, `busy_keys` those
    with requests.
    """

    max_rank = 16
    base_names = ("tiny",)

    def __init__(self, capacity=8):
        self.capacity, self.ids, self.loaded, self.published = capacity, 0, {}, {}
        self.broken, self.busy_keys, self.log = set(), set(), []
        self.proofs = {}  # other verdicts, by version key
        self.faults, self.routes = (
            {},
            {},
        )  # what evaluations find wrong, by version key; routes by name

    def next_id(self):
        self.ids += 1
        return self.ids

    async def load(self, version):
        assert version.key not in {other.key for other in self.loaded.values()}, (
            "one name twice in the engine"
        )
        await asyncio.sleep(0)
        if version.name in self.broken:
            raise RuntimeError("vLLM says no")
        assert (version.path / "adapter_model.safetensors").exists()
        self.loaded[version.id] = version
        self.log.append(("load", version.key))

    async def unload(self, version):
        await asyncio.sleep(0)
        del self.loaded[version.id]
        self.log.append(("unload", version.key))

    async def prove(self, version):
        return self.proofs.get(version.key, Proof("Proven", "differs"))

    async def evaluate(self, version, evaluation):
        await asyncio.sleep(0)
        self.log.append(("evaluate", version.key))
        return self.faults.get(version.key, "")

    def publish(self, name, route):
        if route is None:
            del self.published[name], self.routes[name]
            return
        assert {route.stable.id, *([route.canary.id] if route.canary else [])} <= self.loaded.keys()
        self.published[name] = route.stable.key
        self.routes[name] = (
            route.stable.digest,
            route.canary and route.canary.digest,
            route.weight,
        )

    def busy(self, version):
        return version.key in self.busy_keys


class World:
    """A share, an engine, a loop and a clock that only tests move."""

    def __init__(self, folder, model, **engine):
        self.folder, self.model, self.now = folder, model, 0.0
        self.share = ReplicaShare(folder / "share")
        self.engine = Engine(**engine)
        self.loop = Adapters(
            self.engine, LocalCopies(self.share.root, folder / "local"), model, lambda: self.now
        )

    def version(self, word="red", seed=0, name="red", **options) -> AdapterVersion:
        made = make_adapter(
            self.folder / f"{word}-{seed}-{sorted(options)}",
            word,
            seed,
            model=self.model,
            **options,
        )
        return self.share.publish(made, name)

    async def run(self, *adapters, steps=3):
        if adapters:
            self.loop.want(self.share.write(*[a for a in adapters if a]))
        for _ in range(steps):
            await self.loop.step()
            await asyncio.gather(*self.loop._tasks.values())

    async def pass_time(self, seconds):
        self.now += seconds
        await self.run()

    def state(self, name="red"):
        return {report.name: report for report in self.loop.report()}[name]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def world(tmp_path, model):
    return World(tmp_path, model)
