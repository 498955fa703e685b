"""Files of a share, against the local Azure: the SDK and the lean requests must mean the same
thing.
"""

import asyncio
import os
import socket

import pytest

from reconciler.arm import files
from reconciler.arm.lease import Leader
from reconciler.arm.share import Share
from reconciler.engine.errors import NotReadyYet


async def test_a_file_comes_back_as_it_was_written(share):
    """Also an empty one, one with odd characters in its name, and one over another."""
    written = {"a/b/c.txt": b"one", "a/empty": b"", "a/é @#%+&~ b.txt": b"two"}
    for path, content in written.items():
        await files.write(share, path, content)
    await files.write(share, "a/b/c.txt", b"longer than before")
    assert {path: await files.read(share, path) for path in written} == {
        **written,
        "a/b/c.txt": b"longer than before",
    }
    assert set(await files.list_tree(share)) == set(written)


async def test_what_is_not_there(share):
    """Reading is None, listing is empty, deleting is fine; of a share that does not exist it is an
    error.
    """
    assert await files.read(share, "no/such/file") is None
    assert await files.list_tree(share, "no/such") == {}
    assert not await files.exists(share, "no/such")
    await files.delete(share, "no/such/file")
    await files.delete_tree(share, "no/such")
    with pytest.raises(NotReadyYet):
        await files.read(Share(share.arm, share.group, share.account, "none"), "x")
    with pytest.raises(NotReadyYet):
        await files.read(Share(share.arm, share.group, "stnone01", "none"), "x")


async def test_a_listing_shows_sizes_and_a_tag_that_moves_with_every_write(share):
    """Two writes of the same size are told apart."""
    await files.write(share, "d/x", b"abc")
    before = await files.list_tree(share, "d")
    await files.write(share, "d/x", b"xyz")
    after = await files.list_tree(share, "d")
    assert (before["x"].size, after["x"].size) == (3, 3)
    assert before["x"].etag != after["x"].etag
    assert before["x"].modified <= after["x"].modified
    assert after["x"].path == "x"


async def test_a_tree_is_deleted_whole(share):
    """Nested folders and files go, the neighbours stay, and it can be made again."""
    for path in ("t/a", "t/b/c", "t/b/d/e", "u/a"):
        await files.write(share, path, b"1")
    await files.delete_tree(share, "t")
    assert set(await files.list_tree(share)) == {"u/a"}
    await files.write(share, "t/b/c", b"2")
    assert await files.exists(share, "t/b/c")


async def test_a_directory_that_somebody_removed_is_made_again(share):
    """What was known to exist may not any more."""
    await files.create(share, "p/q/r", b"1")
    await files.delete_tree(share, "p")
    share.directories.update({"p", "p/q"})
    await files.create(share, "p/q/r", b"2")
    assert await files.read(share, "p/q/r") == b"2"


async def test_parents_are_made_once(share):
    """Twenty files in one new folder at once cost each folder one request, and one more finds out
    that the outer folder is missing.
    """
    before = share.arm.calls["files"]
    await files.make_parents(share, [f"one/two/{number}" for number in range(20)])
    assert share.arm.calls["files"] - before == 3


async def test_two_daemons_never_hold_the_lease_together(share):
    """The second waits until the first lets go; the same id goes on at once."""
    first, second = Leader(share), Leader(share)
    await asyncio.gather(first.step(), second.step())
    assert [first.may_write(), second.may_write()].count(True) == 1
    holder, other = (first, second) if first.may_write() else (second, first)
    again = Leader(share, holder._id)
    await again.step()
    assert again.may_write()
    await holder.release()
    await other.step()
    assert other.may_write()
    first_word = await files.read(share, "leader.json")
    await holder.step()
    assert f"host {socket.gethostname()} (process {os.getpid()}, since " in holder.why_not().message
    await other.step()
    assert await files.read(share, "leader.json") == first_word


async def test_the_directory_of_another_version_costs_one_call(share):
    """Those above it exist; where they do not, one call more finds that out."""
    await files.make_parents(share, ["code/web/one/app.py"])
    share.directories.clear()  # another daemon
    before = share.arm.calls["files"]
    await files.make_parents(share, ["code/web/two/app.py", "code/web/two/below/x"])
    assert share.arm.calls["files"] == before + 2
    await files.make_parents(share, ["models/phi/one/x"])
    assert share.arm.calls["files"] == before + 2 + 4
    await files.create(share, "code/web/two/below/x", b"1")
    await files.create(share, "models/phi/one/x", b"1")
