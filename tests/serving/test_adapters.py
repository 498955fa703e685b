"""What the adapter loop loads, publishes, withdraws and unloads, and what it does when it cannot."""

import json
from collections import Counter

import pytest

from serving.adapters import LINGER, PATIENCE
from serving.catalogue import Adapter, AdapterVersion
from tests.serving.adapter_world import World, model, world  # noqa: F401 - fixtures
from tests.tiny_model import make_model


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


async def test_a_model_that_takes_no_lora_says_so(tmp_path):
    """Its engine runs without LoRA; the reason is the model, not how full the memory is."""
    base = make_model(tmp_path / "gpt2")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["GPT2LMHeadModel"]}))
    world = World(tmp_path, base, capacity=0)
    await world.run(Adapter(name="red", desired=world.version()))
    assert world.state("red").reason == "PreflightFailed"
    assert "vLLM has no LoRA for GPT2LMHeadModel" in world.state("red").message


@pytest.mark.parametrize("required", [True, False])
async def test_an_adapter_that_has_never_been_good_holds_up_nothing(world, required):
    """The base and the other adapters answer, and its state says what is wrong with it."""
    bad = world.version(rank=32)
    good = Adapter(name="green", desired=world.version("green", name="green"), required=True)
    world.loop.want(world.share.write(Adapter(name="red", desired=bad, required=required), good))
    assert set(world.loop.missing()) == {"red", "green"}
    await world.run()
    assert (world.state("red").state, world.state("green").state) == ("Failed", "Loaded")
    assert world.loop.missing() == []


@pytest.mark.parametrize(("required", "missing"), [(True, ["red"]), (False, [])])
async def test_a_new_replica_waits_for_a_required_adapter_that_was_good_here(
    world, required, missing
):
    """The catalogue names the version that was good, and nothing of it can be loaded now."""
    gone = AdapterVersion(digest="0" * 64, path="adapters/red/0")
    await world.run(Adapter(name="red", desired=gone, last_good=gone, required=required))
    await world.pass_time(PATIENCE + 1)
    assert world.loop.missing() == missing


async def test_an_adapter_that_never_arrives_is_not_waited_for_without_end(world):
    """A copy from a share that hangs ends the patience, and not the replica."""
    world.loop.want(world.share.write(Adapter(name="red", desired=world.version())))
    assert world.loop.missing() == ["red"]
    world.now += PATIENCE + 1
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
