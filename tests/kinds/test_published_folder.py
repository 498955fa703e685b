"""Published folders against the local Azure: what services share is looked at and uploaded once."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from reconciler.api.digest import digest_tree
from reconciler.api.resources import FolderSpec, ShareRef
from reconciler.arm import files, ids
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Transfer
from reconciler.kinds.published_folder import TELLING, PublishedFolder
from reconciler.kinds.share.rounds import AT_ONCE, Rounds
from tests.arm.conftest import finished, live, local_azure, share  # noqa: F401 - fixtures
from tests.kinds.known import Known

PREFIX = "models/base/abc"


class Opened:
    """The one share of the test, whichever is asked for."""

    def __init__(self, opened, clock):
        self.opened = opened
        self.rounds = Rounds(clock, 60.0)

    def is_new(self, _):
        return self.opened.is_new

    def open(self, _):
        return self.opened


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").write_bytes(b"w" * 100_000)
    (tmp_path / "config.json").write_bytes(b"{}")
    return tmp_path


@pytest.fixture
async def kind(share):
    time = SimpleNamespace(now=100.0)
    clock = lambda: time.now  # noqa: E731
    made = PublishedFolder(SimpleNamespace(shares=Opened(share, clock)), clock)
    made.time = time
    yield made
    await made.close()


def wanted(folder, service):
    tree = digest_tree(folder)
    spec = FolderSpec(ShareRef("dev", "rg", "acct", "phi"), PREFIX, tree.digest, tree)
    return Desired(
        ObjectKey("PublishedFolder", f"{service}/{PREFIX}"),
        DocumentRef("InferenceService", service),
        spec,
    )


async def pass_over(kind, desired):
    """What the loop does with one key: look, and write if need be; the changes that were found."""
    seen = await kind.observe(desired, Known())
    if not seen.exists and not seen.busy:
        await kind.create(desired, Known())
    elif seen.changes:
        await kind.update(desired, seen, Known())
    return seen.changes


async def test_services_that_share_a_folder_upload_it_once(kind, folder):
    """All at the same time, as at the first start: every file goes over the wire once, and nobody
    finds damage later.
    """
    services = [wanted(folder, f"phi-{number}") for number in range(8)]
    share = kind.shares.opened
    before = share.arm.calls["files"]
    await asyncio.gather(*(pass_over(kind, one) for one in services))
    uploads = share.arm.calls["files"] - before
    kind.time.now += 60.0
    before = share.arm.calls["files"]
    assert await asyncio.gather(*(pass_over(kind, one) for one in services)) == [()] * 8
    assert share.arm.calls["files"] - before == 1
    assert uploads <= 12


async def test_a_shared_folder_is_repaired_once(kind, folder):
    """What somebody changed is seen by all services, put right by one of them, and is no damage to
    the others.
    """
    services = [wanted(folder, f"phi-{number}") for number in range(3)]
    await asyncio.gather(*(pass_over(kind, one) for one in services))
    await files.write(kind.shares.opened, f"{PREFIX}/weights", b"x" * 100_000)
    kind.time.now += 60.0
    found = await asyncio.gather(*(pass_over(kind, one) for one in services))
    assert any(found)
    for _ in range(2):
        kind.time.now += 60.0
        assert await asyncio.gather(*(pass_over(kind, one) for one in services)) == [()] * 3
    assert await files.read(kind.shares.opened, f"{PREFIX}/weights") == b"w" * 100_000


async def test_it_is_told_beforehand_what_is_sent(kind, folder):
    """Against the published version that is closest: what is new, changed and gone; of the bytes,
    those that are not there yet.
    """
    first = wanted(folder, "phi")
    assert await kind.transfer(first) == Transfer(added=2, changed=0, removed=0, size=100_002)
    await pass_over(kind, first)
    (folder / "config.json").unlink()
    (folder / "weights").write_bytes(b"v" * 100_000)
    (folder / "tokens").write_bytes(b"t" * 10)
    tree = digest_tree(folder)
    again = replace(first, spec=replace(first.spec, prefix="models/base/def", tree=tree))
    writes = kind.shares.opened.arm.calls["files"]
    assert await kind.transfer(again) == Transfer(added=1, changed=1, removed=1, size=100_010)
    assert kind.shares.opened.arm.calls["files"] - writes <= 4
    kind.shares.opened = None
    assert await kind.transfer(replace(again, spec=replace(again.spec, tree=None))) is None


async def test_folders_that_rest_cost_a_constant_number_of_calls(kind, folder):
    """Sixty folders that are as published cost as many calls in a resync as twenty; one that is
    damaged is still found, in its turn, and one that is new at once.
    """
    share = kind.shares.opened
    many = [wanted(folder, f"phi-{number}") for number in range(3 * AT_ONCE)]
    many = [
        replace(each, spec=replace(each.spec, prefix=f"models/base/{number:03}"))
        for number, each in enumerate(many)
    ]
    for each in many:
        await pass_over(kind, each)
        await pass_over(kind, each)
    costs = []
    for count in (AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE, 3 * AT_ONCE):
        kind.time.now += 60.0
        before = share.arm.calls["files"]
        assert [await pass_over(kind, each) for each in many[:count]] == [()] * count
        costs.append(share.arm.calls["files"] - before)
    assert max(costs) <= AT_ONCE
    await files.write(share, f"{many[50].spec.prefix}/weights", b"x" * 100_000)
    found = []
    for _ in range(4):
        kind.time.now += 60.0
        found += [await pass_over(kind, each) for each in many]
    assert sum(bool(each) for each in found) == 1


async def test_an_upload_of_some_length_tells_how_fast_the_next_one_will_be(kind, folder):
    """For this process and, by the outputs that are stored, for those after it."""
    (folder / "weights").write_bytes(b"w" * 2 * TELLING)
    one, facts = wanted(folder, "phi"), Known()
    opened, share = kind.shares.open, kind.shares.opened

    def slow(_):  # two seconds go by while it is sent
        kind.time.now += 2.0
        return share

    await kind.observe(one, facts)
    kind.shares.open = slow
    began = kind.time.now
    await kind.create(one, facts)
    kind.shares.open = opened
    kind.time.now += 60.0
    seen = await kind.observe(one, facts)
    assert began < kind.time.now
    assert seen.outputs.bytes_per_second > 0
    facts.seen[one.key] = seen.outputs
    kind._rates.clear()
    kind.time.now += 60.0
    assert (await kind.observe(one, facts)).outputs == seen.outputs


async def test_a_share_that_was_created_a_moment_ago_is_not_listed(kind, folder):
    """Only what is published there is sent: its directories, its two files, its manifest and the
    name of the manifest. What was published is found, and so is damage later.
    """
    share, one = kind.shares.opened, wanted(folder, "phi")
    await files.exists(share, "opens the share")
    arm = share.arm
    arm.inventory.made(ids.share(arm.subscription_id, share.group, share.account, share.name))
    before = share.arm.calls["files"]
    await pass_over(kind, one)
    assert share.arm.calls["files"] - before == 3 + 2 + 2
    assert (await kind.observe(one, Known())).ready
    await files.write(share, f"{PREFIX}/weights", b"x" * 100_000)
    kind.time.now += 60.0
    assert await pass_over(kind, one)
