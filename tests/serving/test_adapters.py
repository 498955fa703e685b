"""The adapter loop over an engine that only notes what it is told, with real copies and real
preflight.
"""

import asyncio
from collections import Counter

import pytest

from serving.adapters import LINGER, Adapters
from serving.catalogue import Adapter, AdapterVersion, Canary, Expectation
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


async def test_a_wanted_adapter_is_loaded_under_a_versioned_name_and_published_under_its_own(world):
    """The report names the digest that answers and its proof."""
    version = world.version()
    await world.run(Adapter(name="red", desired=version))
    assert world.engine.published == {"red": f"red@{version.digest[:12]}"}
    state = world.state()
    assert (state.state, state.digest, state.desired, state.reason) == (
        "Loaded",
        version.digest,
        version.digest,
        "Proven",
    )
    assert state.loaded_at
    assert world.loop.missing() == []


async def test_a_new_version_is_loaded_before_the_old_one_leaves(world):
    """The alias flips first; the old version goes when its requests have and the linger
    has passed.
    """
    old, new = world.version(), world.version(seed=1)
    await world.run(Adapter(name="red", desired=old))
    loaded = world.engine.loaded[1]
    loaded.pins = 1
    await world.run(Adapter(name="red", desired=new))
    assert world.engine.published["red"] == f"red@{new.digest[:12]}"
    await world.pass_time(LINGER + 1)
    assert len(world.engine.loaded) == 2
    loaded.pins = 0
    world.engine.busy_keys = {loaded.key}
    await world.pass_time(1)
    assert len(world.engine.loaded) == 2
    world.engine.busy_keys = set()
    await world.pass_time(1)
    assert [version.digest for version in world.engine.loaded.values()] == [new.digest]
    assert not loaded.path.exists()


async def test_a_version_that_is_wanted_again_while_it_leaves_is_not_loaded_twice(world):
    """A quick way back reuses what is still in the engine, since one name twice kills vLLM."""
    old, new = world.version(), world.version(seed=1)
    await world.run(Adapter(name="red", desired=old))
    await world.run(Adapter(name="red", desired=new))
    await world.run(Adapter(name="red", desired=old))
    assert world.engine.published["red"] == f"red@{old.digest[:12]}"
    await world.pass_time(LINGER + 1)
    assert [version.digest for version in world.engine.loaded.values()] == [old.digest]
    assert Counter(world.engine.log)["load", f"red@{old.digest[:12]}"] == 1


async def test_a_removed_adapter_is_withdrawn_at_once_and_unloaded_later(world):
    """New requests get 404 while those in flight finish."""
    await world.run(Adapter(name="red", desired=world.version()))
    world.loop.want(world.share.write())
    await world.loop.step()
    assert world.engine.published == {}
    assert len(world.engine.loaded) == 1
    await world.pass_time(LINGER)
    assert world.engine.loaded == {}
    assert world.loop.report() == ()


@pytest.mark.parametrize("how", ["preflight", "engine", "unpublished", "corrupt"])
async def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(world, how):
    """Whatever is wrong with the desired version, the report says it and the served digest is the
    old one's.
    """
    old = world.version()
    await world.run(Adapter(name="red", desired=old))
    bad = world.version(seed=1, **({"use_dora": True} if how == "preflight" else {}))
    if how == "engine":
        world.engine.broken = {"red"}
    if how == "unpublished":
        (world.share.root / bad.path / ".moorage.json").unlink()
    if how == "corrupt":
        weights = world.share.root / bad.path / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    await world.run(Adapter(name="red", desired=bad, last_good=old))
    state = world.state()
    reasons = {
        "preflight": "PreflightFailed",
        "engine": "LoadFailed",
        "unpublished": "NotPublished",
        "corrupt": "Corrupt",
    }
    assert (state.state, state.reason, state.digest, state.desired) == (
        "Failed",
        reasons[how],
        old.digest,
        bad.digest,
    )
    assert world.engine.published["red"] == f"red@{old.digest[:12]}"


async def test_a_fresh_replica_serves_the_last_good_version_when_the_desired_one_fails(world):
    """A new replica, too, has something to answer with and says that it is not what was wanted."""
    good, bad = world.version(), world.version(seed=1, lora_bias=True)
    await world.run(Adapter(name="red", desired=bad, last_good=good))
    assert world.engine.published == {"red": f"red@{good.digest[:12]}"}
    assert (world.state().state, world.state().digest) == ("Failed", good.digest)
    assert world.loop.missing() == []


async def test_failures_are_tried_again_after_pauses_that_grow(world):
    """A copy that was not complete yet is loaded once it is."""
    version = world.version()
    manifest = world.share.root / version.path / ".moorage.json"
    hidden = manifest.rename(manifest.with_suffix(".later"))
    await world.run(Adapter(name="red", desired=version))
    assert world.loop.missing() == ["red"]
    hidden.rename(manifest)
    await world.run()
    assert world.state().state == "Failed"
    await world.pass_time(1.0)
    assert world.state().state == "Loaded"
    world.engine.broken = {"red"}
    other = world.version(seed=1)
    await world.run(Adapter(name="red", desired=other))
    tries = []
    for _ in range(12):
        before = world.loop._failures["red", other.digest].attempts
        await world.pass_time(1.0)
        tries.append(world.loop._failures["red", other.digest].attempts - before)
    assert sum(tries) == 3  # after 1, 3 and 7 seconds


async def test_the_engines_memory_is_never_overfilled_by_new_names(tmp_path, model):
    """Beyond capacity an adapter is refused with the reason; a new version of a served one still
    gets in.
    """
    world = World(tmp_path, model, capacity=2)
    red, green, blue = (
        Adapter(name=name, desired=world.version(name, name=name))
        for name in ("red", "green", "blue")
    )
    await world.run(red, green, blue)
    states = {report.name: report.reason for report in world.loop.report()}
    assert Counter(states.values()) == {"Proven": 2, "NoCapacity": 1}
    full = [name for name, reason in states.items() if reason == "Proven"]
    changed = Adapter(name=full[0], desired=world.version(full[0], seed=1, name=full[0]))
    others = [one for one in (red, green, blue) if one.name != full[0]]
    await world.run(changed, *others)
    assert world.state(full[0]).digest == changed.desired.digest


async def test_an_adapter_that_is_not_required_does_not_hold_up_readiness(world):
    """Only required adapters are waited for."""
    await world.run(
        Adapter(
            name="red",
            desired=AdapterVersion(digest="0" * 64, path="adapters/red/0"),
            required=False,
        )
    )
    assert world.state().state == "Failed"
    assert world.loop.missing() == []


@pytest.mark.parametrize("path", ["../../etc", "/etc", "", "adapters/../../x"])
async def test_a_path_that_leaves_the_share_is_refused(world, path):
    """A catalogue cannot make a replica read its own disk."""
    await world.run(Adapter(name="red", desired=AdapterVersion(digest="0" * 64, path=path)))
    assert world.state().reason == "BadPath"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("../x", "BadName"), ("a/b", "BadName"), (".x", "BadName"), ("tiny", "NameTaken")],
)
async def test_names_that_are_paths_or_the_bases_own_are_refused(world, name, reason):
    """A name becomes a folder and a model's name, and may be neither a way out nor
    somebody else's.
    """
    await world.run(Adapter(name=name, desired=world.version()))
    assert (world.state(name).reason, world.engine.published) == (reason, {})


async def test_many_changes_in_a_row_end_with_the_last_and_leave_nothing(world):
    """Twenty versions one after the other: one is loaded at the end, one folder is on the disk."""
    for seed in range(20):
        version = world.version(seed=seed)
        await world.run(Adapter(name="red", desired=version), steps=1)
        world.now += 1.0
    await world.pass_time(LINGER + 1)
    assert [one.digest for one in world.engine.loaded.values()] == [version.digest]
    assert [path.name for path in (world.folder / "local").iterdir()] == [f"red@{version.digest}"]


EVALUATION = (Expectation(prompt="x", expect="red"),)


def on_trial(stable, canary, weight=10, **options):
    return Adapter(
        name="red", desired=stable, canary=Canary(version=canary, weight=weight, **options)
    )


async def test_a_canary_is_loaded_beside_the_stable_version_and_gets_its_part(world):
    """Both are in the engine, the route names both, and the report speaks of each; another weight
    loads nothing.
    """
    stable, canary = world.version(), world.version(seed=1)
    await world.run(on_trial(stable, canary))
    assert world.engine.routes["red"] == (stable.digest, canary.digest, 10)
    state = world.state()
    assert (state.state, state.digest, state.canary.state, state.canary.digest) == (
        "Loaded",
        stable.digest,
        "Loaded",
        canary.digest,
    )
    assert world.loop.splits
    await world.run(on_trial(stable, canary, weight=50))
    assert world.engine.routes["red"] == (stable.digest, canary.digest, 50)
    assert [verb for verb, _ in world.engine.log] == ["load", "load"]
    await world.run(on_trial(stable, canary, weight=0))
    assert world.engine.routes["red"] == (stable.digest, None, 0)
    assert not world.loop.splits


async def test_a_canary_that_is_promoted_is_not_loaded_again(world):
    """The name is flipped to the version that is in the engine; the old one leaves."""
    stable, canary = world.version(), world.version(seed=1)
    await world.run(on_trial(stable, canary))
    await world.run(Adapter(name="red", desired=canary, last_good=stable))
    assert world.engine.routes["red"] == (canary.digest, None, 0)
    await world.pass_time(LINGER + 1)
    assert [version.digest for version in world.engine.loaded.values()] == [canary.digest]
    assert [verb for verb, _ in world.engine.log] == ["load", "load", "unload"]


async def test_a_canary_that_is_rolled_back_leaves_and_the_stable_version_never_stops(world):
    """Requests that run on it finish first; another canary takes its place when there is one."""
    stable, canary, other = world.version(), world.version(seed=1), world.version(seed=2)
    await world.run(on_trial(stable, canary))
    world.engine.loaded[2].pins = 1
    await world.run(Adapter(name="red", desired=stable))
    assert world.engine.routes["red"] == (stable.digest, None, 0)
    await world.pass_time(LINGER + 1)
    assert len(world.engine.loaded) == 2
    world.engine.loaded[2].pins = 0
    await world.run(on_trial(stable, other))
    assert world.engine.routes["red"] == (stable.digest, other.digest, 10)
    await world.pass_time(LINGER + 1)
    assert {version.digest for version in world.engine.loaded.values()} == {
        stable.digest,
        other.digest,
    }


async def test_a_removed_adapter_takes_its_canary_along(world):
    """Nothing of the name is left."""
    await world.run(on_trial(world.version(), world.version(seed=1)))
    world.loop.want(world.share.write())
    await world.pass_time(1)
    await world.pass_time(LINGER + 1)
    assert (world.engine.routes, world.engine.loaded, world.loop.report()) == ({}, {}, ())


async def test_a_version_that_fails_its_evaluation_is_not_served(world):
    """The old one goes on, the report says why, the refused one leaves the engine and is not tried
    again by itself.
    """
    old, new = world.version(), world.version(seed=1)
    await world.run(Adapter(name="red", desired=old, evaluation=EVALUATION))
    assert world.state().state == "Loaded"
    key = f"red@{new.digest[:12]}"
    world.engine.faults[key] = "1 of 1 prompts are not answered as expected"
    await world.run(Adapter(name="red", desired=new, last_good=old, evaluation=EVALUATION))
    state = world.state()
    assert (state.state, state.reason, state.digest) == ("Failed", "EvaluationFailed", old.digest)
    assert "1 of 1 prompts" in state.message
    await world.pass_time(LINGER + 1)
    await world.pass_time(3600)
    assert [version.digest for version in world.engine.loaded.values()] == [old.digest]
    assert Counter(world.engine.log)["load", key] == 1
    world.engine.faults.clear()
    softer = (Expectation(prompt="x", expect="r"),)
    await world.run(Adapter(name="red", desired=new, last_good=old, evaluation=softer))
    assert world.engine.published["red"] == key


async def test_a_version_whose_proof_finds_no_numbers_is_not_served(world):
    """Neither when it is brought nor when it is wished again while it is still in the engine."""
    old, new = world.version(), world.version(seed=1)
    key = f"red@{new.digest[:12]}"
    world.engine.proofs[key] = Proof("NotFinite", "its weights overflow")
    await world.run(Adapter(name="red", desired=old))
    for required in (True, False):
        await world.run(Adapter(name="red", desired=new, last_good=old, required=required))
        state = world.state()
        assert (state.state, state.reason, state.message) == (
            "Failed",
            "NotFinite",
            "its weights overflow",
        )
        assert world.engine.published["red"] == f"red@{old.digest[:12]}"
    await world.pass_time(LINGER + 1)
    await world.pass_time(3600)
    assert [version.digest for version in world.engine.loaded.values()] == [old.digest]
    assert Counter(world.engine.log)["load", key] == 1


async def test_a_refused_version_that_is_still_leaving_is_asked_again_and_not_loaded_twice(world):
    """One name twice would kill vLLM, and what has not passed must not slip in."""
    old, new = world.version(), world.version(seed=1)
    key = f"red@{new.digest[:12]}"
    world.engine.faults[key] = "wrong"
    await world.run(Adapter(name="red", desired=old))
    await world.run(Adapter(name="red", desired=new, last_good=old, evaluation=EVALUATION))
    again = (Expectation(prompt="y", expect="red"),)
    await world.run(Adapter(name="red", desired=new, last_good=old, evaluation=again))
    assert world.engine.published["red"] == f"red@{old.digest[:12]}"
    world.engine.faults.clear()
    await world.run(Adapter(name="red", desired=new, last_good=old, evaluation=EVALUATION))
    assert world.engine.published["red"] == key
    assert Counter(world.engine.log)["load", key] == 1


async def test_what_a_version_has_met_is_not_asked_again_and_what_it_has_not_is(world):
    """A promoted canary goes on with the evaluation it has met; with another one it has to prove
    itself.
    """
    stable, canary = world.version(), world.version(seed=1)
    key = f"red@{canary.digest[:12]}"
    await world.run(on_trial(stable, canary, evaluation=EVALUATION))
    await world.run(Adapter(name="red", desired=canary, last_good=stable, evaluation=EVALUATION))
    assert Counter(world.engine.log)["evaluate", key] == 1
    await world.run(Adapter(name="red", desired=stable))
    harder = (Expectation(prompt="x", expect="redder"),)
    world.engine.faults[key] = "wrong"
    await world.run(Adapter(name="red", desired=canary, last_good=stable, evaluation=harder))
    assert (world.engine.published["red"], world.state().reason) == (
        f"red@{stable.digest[:12]}",
        "EvaluationFailed",
    )
    assert Counter(world.engine.log)["load", key] == 1


async def test_a_canary_that_fails_its_evaluation_gets_no_request(world):
    """It is reported as failed with the reason, which is what the daemon rolls it back for."""
    stable, canary = world.version(), world.version(seed=1)
    world.engine.faults[f"red@{canary.digest[:12]}"] = "wrong"
    await world.run(on_trial(stable, canary, evaluation=EVALUATION))
    assert world.engine.routes["red"] == (stable.digest, None, 0)
    state = world.state()
    assert (state.state, state.canary.state, state.canary.reason) == (
        "Loaded",
        "Failed",
        "EvaluationFailed",
    )
    assert not world.loop.missing()


async def test_a_canary_that_runs_must_meet_an_evaluation_that_comes_later(world):
    """It gets no request until it has, and a trial that begins anew counts from nothing."""
    stable, canary = world.version(), world.version(seed=1)
    await world.run(on_trial(stable, canary))
    world.engine.loaded[2].traffic.errors = 7
    assert world.state().canary.errors == 7
    world.engine.faults[f"red@{canary.digest[:12]}"] = "wrong"
    await world.run(on_trial(stable, canary, evaluation=EVALUATION))
    assert world.engine.routes["red"] == (stable.digest, None, 0)
    assert world.state().canary.reason == "EvaluationFailed"
    await world.run(on_trial(stable, canary))
    assert world.engine.routes["red"] == (stable.digest, canary.digest, 10)
    assert (world.state().canary.errors, len(world.engine.loaded)) == (0, 2)


async def test_a_canary_does_not_push_anything_out_of_the_engine(tmp_path, model):
    """Where the memory is full it waits and says so."""
    world = World(tmp_path, model, capacity=1)
    await world.run(on_trial(world.version(), world.version(seed=1)))
    assert world.state().canary.reason == "NoCapacity"
    assert len(world.engine.loaded) == 1


async def test_copies_stay_within_the_disks_budget(world):
    """What does not fit is refused with the numbers; what an earlier process left is swept away
    first.
    """
    stale = world.folder / "local" / "old@123"
    stale.mkdir(parents=True)
    (stale / "weights").write_bytes(b"x" * 4000)
    version = world.version()
    world.loop._copies._budget = 4000
    await world.run(Adapter(name="red", desired=version))
    assert world.state().reason == "NoSpace"
    assert "may take 1 MiB" in world.state().message
    assert not stale.exists()
    world.loop._copies._budget = 4 << 20
    await world.pass_time(60)
    assert world.state().state == "Loaded"
