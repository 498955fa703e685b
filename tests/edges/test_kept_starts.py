"""What starts took stays on the share, so that a daemon that lost its state predicts by it."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from reconciler.api.outputs import AppOutputs, SeenStart
from reconciler.api.resources import ContainerAppSpec, ShareRef
from reconciler.arm import files
from reconciler.edges.kept_starts import KeepStarts
from reconciler.engine.errors import ReconcileError
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy
from reconciler.kinds.share.shares import Shares
from reconciler.kinds.share.start_memory import LONGEST, StartMemory
from serving.gateway.learning import RECENT
from serving.gateway.routes import StartSeen
from tests.arm.conftest import finished, live, local_azure, share  # noqa: F401 - fixtures

PATH = "services/phi/starts.json"


def start(number, seconds=40.0):
    seen = StartSeen(seconds=seconds, told=170, published=170, stages={"image": 12.0})
    return SeenStart(f"phi--r1-{number}", "2026-11-25T10:00:12+00:00", seen)


@pytest.fixture
def place(live, share):
    """The share, its reference and connections to it that are as new as a daemon's."""
    ref = ShareRef("dev", share.group, share.account, share.name)
    return SimpleNamespace(share=share, ref=ref, open=lambda: StartMemory(Shares(live, None)))


def edge(place, starts, *, memory=None, policy=Policy.MANAGE, refusal=None):
    """An edge that finds these starts in the outputs of one app."""
    spec = ContainerAppSpec(
        "phi", "rg", "dev", {}, service="phi", template={"scale": {}}, share=place.ref, engine="e1"
    )
    key, document = ObjectKey("ContainerApp", "phi"), DocumentRef("InferenceService", "phi")
    item = Desired(key, document, spec, policy=policy)
    outputs = AppOutputs(starts=tuple(starts)).dump()
    record = SimpleNamespace(key=key, exists=True, outputs=outputs)
    composition = SimpleNamespace(desired=(item,))
    return KeepStarts(
        memory or place.open(), lambda: composition, lambda: [record], lambda _: refusal
    )


async def test_the_next_daemon_knows_the_starts_of_the_one_before(place):
    """The newest of them, as they were; a second look at the same starts writes nothing."""
    starts = [start(number) for number in range(RECENT + 3)]
    await edge(place, starts).act()
    assert await place.open().recall(place.ref, "phi") == tuple(starts[-RECENT:])
    _, _, etag = await written(place)
    await edge(place, starts).act()
    assert (await written(place))[2] == etag
    await edge(place, [*starts, start(99, 80.0)]).act()
    assert (await place.open().recall(place.ref, "phi"))[-1] == start(99, 80.0)


async def written(place):
    entries, _ = await files.list_directory(place.share, "services/phi")
    (entry,) = entries
    return entry.path, entry.size, entry.etag


@pytest.mark.parametrize(
    "spoilt",
    [b"", b"{", b"[" * 5000, b'{"sha256": "0", "starts": {}}', b"x" * (LONGEST + 9)],
    ids=["empty", "torn", "nested", "another hash", "too long"],
)
async def test_a_file_that_others_changed_says_nothing_and_is_written_anew(place, spoilt):
    """Whatever stands there, no look fails."""
    await files.write(place.share, PATH, spoilt)
    assert await place.open().recall(place.ref, "phi") == ()
    await edge(place, [start(1)]).act()
    assert await place.open().recall(place.ref, "phi") == (start(1),)


@pytest.mark.parametrize(
    "more", [{"policy": Policy.OBSERVE}, {"refusal": ReconcileError("NotLeader", "another")}]
)
async def test_nothing_is_written_by_who_may_not(place, more):
    """A daemon that only observes, and one that does not lead."""
    await edge(place, [start(1)], **more).act()
    assert not await files.exists(place.share, PATH)


def test_the_kept_fields_are_those_of_a_start():
    """One that is added to a start must be kept as well."""
    assert set(asdict(start(1))) == {"replica", "began", "start"}
