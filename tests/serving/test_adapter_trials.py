"""Versions on trial in the adapter loop: canaries, evaluations, proofs, and the disk they take."""

from collections import Counter

from serving.adapters import LINGER
from serving.catalogue import Adapter, Canary, Expectation
from serving.proof import Proof
from tests.serving.adapter_world import World, model, world  # noqa: F401 - fixtures

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
    await world.run(on_trial(stable, canary, weight=50))
    assert world.engine.routes["red"] == (stable.digest, canary.digest, 50)
    assert [verb for verb, _ in world.engine.log] == ["load", "load"]
    await world.run(on_trial(stable, canary, weight=0))
    assert world.engine.routes["red"] == (stable.digest, None, 0)


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
    """It gets no request until it has, and a trial that begins again counts from nothing."""
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


async def test_a_canary_that_was_the_last_good_version_does_not_take_the_place_of_the_desired_one(
    world,
):
    """After a promotion that was taken back the canary is also the version that was good: the two
    took turns in serving, without end.
    """
    stable, canary = world.version(), world.version(seed=1)
    asked = Adapter(
        name="red", desired=stable, last_good=canary, canary=Canary(version=canary, weight=10)
    )
    for _ in range(4):
        await world.run(asked, steps=1)
        assert world.engine.routes["red"][0] == stable.digest
    assert world.engine.routes["red"] == (stable.digest, canary.digest, 10)


async def test_a_version_that_serves_stays_when_it_fails_as_a_canary(world):
    """The same version may be asked for twice, once with an evaluation that it does not meet."""
    version = world.version()
    await world.run(Adapter(name="red", desired=version))
    world.engine.faults[f"red@{version.digest[:12]}"] = "answers blue"
    await world.run(on_trial(version, version, evaluation=EVALUATION))
    await world.pass_time(LINGER + 1)
    assert world.engine.routes["red"] == (version.digest, None, 0)
    assert [one.digest for one in world.engine.loaded.values()] == [version.digest]
