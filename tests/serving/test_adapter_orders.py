"""Whatever catalogues a replica was told to follow, and in whatever order: it ends with the last."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.adapters import LINGER
from serving.catalogue import Adapter, Canary
from tests.serving.adapter_world import World, model  # noqa: F401 - a fixture

VERSIONS = 3
_ONE = st.integers(0, VERSIONS - 1)
# desired, last good, canary; None: the adapter is in no catalogue
_WISHES = st.none() | st.tuples(_ONE, st.none() | _ONE, st.none() | _ONE)


@settings(max_examples=60, deadline=None)
@given(wishes=st.lists(_WISHES, min_size=1, max_size=5), steps=st.integers(1, 3))
async def test_any_order_of_catalogues_ends_with_the_last_one_and_then_nothing_moves(
    model,
    wishes,
    steps,
):
    """The desired version serves and the canary is tried, although each of them may be the version
    that was good before; after that nothing is loaded, published or unloaded.
    """
    with TemporaryDirectory() as folder:
        world = World(Path(folder), model)
        versions = [world.version(seed=seed) for seed in range(VERSIONS)]

        def adapter(wish):
            desired, good, canary = wish
            return Adapter(
                name="red",
                desired=versions[desired],
                last_good=None if good is None else versions[good],
                canary=None if canary is None else Canary(version=versions[canary], weight=10),
            )

        for wish in wishes:
            world.loop.want(world.share.write(*[adapter(wish)] if wish else []))
            await world.run(steps=steps)
        await world.run(steps=4)
        await world.pass_time(LINGER + 1)
        if wishes[-1] is None:
            assert (world.engine.routes, world.engine.loaded) == ({}, {})
            return
        desired, _, canary = wishes[-1]
        on_trial = None if canary is None else versions[canary].digest
        still = (versions[desired].digest, on_trial, 10 if on_trial else 0)
        assert world.engine.routes == {"red": still}
        wanted = {versions[desired].digest} | ({on_trial} if on_trial else set())
        assert {version.digest for version in world.engine.loaded.values()} == wanted
        done = list(world.engine.log)
        for _ in range(3):
            await world.run(steps=1)
            assert world.engine.routes == {"red": still}
        assert world.engine.log == done
