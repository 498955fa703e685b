"""Saved files become edges, however they are saved; nothing else does."""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager

import pytest

from reconciler.api.digest import digest_tree
from reconciler.api.stat_cache import StatCache
from reconciler.sources.files import FileSource

QUIET = 0.05


class Edges:
    def __init__(self, source):
        self.source = source
        self.queue = asyncio.Queue()

    async def next(self):
        return await asyncio.wait_for(self.queue.get(), 90)

    async def none(self, seconds=0.25):
        with pytest.raises(TimeoutError):
            print(await asyncio.wait_for(self.queue.get(), seconds))


@asynccontextmanager
async def watching(*paths, quiet=QUIET, reread=30.0, cache=None):
    """The edges of a source after its first, which names every path."""
    source, stop = FileSource(paths, cache, quiet=quiet, reread=reread), asyncio.Event()
    edges = Edges(source)

    async def follow():
        async for changed in source.watch(stop):
            edges.queue.put_nowait(changed)

    task = asyncio.create_task(follow())
    assert await edges.next() == frozenset(paths)
    await asyncio.sleep(2 * quiet)  # let the first look behind the start-up pass
    try:
        yield edges
    finally:
        stop.set()
        await asyncio.wait_for(task, 90)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "manifests" / "m.yaml"
    path.parent.mkdir()
    path.write_text("one")
    return path


def save_in_place(path):
    path.write_text("two")


def save_by_rename(path):
    beside = path.with_name("m.yaml.new")
    beside.write_text("two")
    beside.replace(path)


def save_like_vim(path):
    backup = path.with_name("m.yaml~")
    path.rename(backup)
    path.write_text("two")
    backup.unlink()


def save_in_pieces(path):
    path.write_text("")
    path.write_text("two")


def delete_and_recreate_folder(path):
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    path.write_text("two")


@pytest.mark.parametrize(
    "save",
    [save_in_place, save_by_rename, save_like_vim, save_in_pieces, delete_and_recreate_folder],
)
async def test_every_way_of_saving_is_one_edge_and_so_is_the_next(file, save):
    """A watch survives each way of saving: the second save is seen as well as the first."""
    async with watching(file) as edges:
        save(file)
        assert await edges.next() == {file}
        file.write_text("three")
        assert await edges.next() == {file}
        await edges.none()


async def test_a_save_that_changes_nothing_is_no_edge(file):
    """The content decides, not the event."""
    async with watching(file) as edges:
        file.write_text("one")
        os.utime(file)
        file.with_name("other.txt").write_text("noise")
        await edges.none()


@pytest.mark.parametrize("inside", [True, False])
async def test_a_log_that_is_written_all_the_time_delays_no_save(tmp_path, file, inside):
    """What lies in a manifest's folder or beside it and is no manifest says nothing of a save."""
    beside = file.parent if inside else tmp_path
    busy = asyncio.Event()

    async def write():
        while not busy.is_set():
            with (beside / "up.log").open("a") as log:
                log.write("line\n")
            await asyncio.sleep(0.01)

    watched = file.parent
    async with watching(file, watched, quiet=0.2) as edges:
        writer = asyncio.create_task(write())
        await asyncio.sleep(0.3)
        began = asyncio.get_running_loop().time()
        save_by_rename(file)
        assert await edges.next() == {file, watched}
        assert asyncio.get_running_loop().time() - began < 3.0
        busy.set()
        await writer
        await edges.none()


async def test_a_slow_writer_is_waited_for(file):
    """Events closer together than the quiet period are one edge, at their end."""
    async with watching(file, quiet=0.4) as edges:
        for piece in "abcdef":
            with file.open("a") as stream:
                stream.write(piece)
            await asyncio.sleep(0.1)
        assert await edges.next() == {file}
        await edges.none()


async def test_a_mounted_config_map_swaps_its_link(tmp_path):
    """Kubernetes changes a mounted file by moving a link to a folder; each swap is an edge."""
    mount = tmp_path / "mount"
    for version in ("..one", "..two", "..three"):
        (mount / version).mkdir(parents=True)
        (mount / version / "m.yaml").write_text(version)
    (mount / "..data").symlink_to("..one")
    (mount / "m.yaml").symlink_to("..data/m.yaml")
    async with watching(mount, mount / "m.yaml") as edges:
        for version in ("..two", "..three"):
            (mount / "..tmp").symlink_to(version)
            (mount / "..tmp").replace(mount / "..data")
            assert await edges.next() == {mount, mount / "m.yaml"}


async def test_a_link_to_a_file_elsewhere_follows_that_file(tmp_path, file):
    """A manifest that is a link changes when the file it leads to is saved."""
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    async with watching(link) as edges:
        save_by_rename(file)
        assert await edges.next() == {link}


async def test_files_of_a_folder_come_and_go(file):
    """A manifest folder changes with its *.yaml and *.yml; hidden and other files are
    not its own.
    """
    folder = file.parent
    async with watching(folder) as edges:
        (folder / "second.yml").write_text("x")
        assert await edges.next() == {folder}
        (folder / ".hidden.yaml").write_text("x")
        (folder / "notes.txt").write_text("x")
        await edges.none()
        file.unlink()
        assert await edges.next() == {folder}


async def test_a_vanished_file_is_an_edge_and_its_return_too(file):
    """Whoever loads it then sees the problem; that it is gone is not the source's to judge."""
    async with watching(file) as edges:
        shutil.rmtree(file.parent)
        assert await edges.next() == {file}
        file.parent.mkdir()
        file.write_text("one")
        assert await edges.next() == {file}


async def test_a_path_that_does_not_exist_yet_is_waited_for(tmp_path):
    """Starting before the file is there is no error."""
    path = tmp_path / "a" / "b" / "m.yaml"
    async with watching(path) as edges:
        path.parent.mkdir(parents=True)
        path.write_text("one")
        assert await edges.next() == {path}


async def test_a_path_may_become_a_folder(tmp_path):
    """What the user named is looked at as what it is."""
    path = tmp_path / "docs"
    async with watching(path) as edges:
        path.mkdir()
        assert await edges.next() == {path}
        (path / "m.yaml").write_text("one")
        assert await edges.next() == {path}


async def test_where_the_system_cannot_watch_it_looks_by_itself(file, monkeypatch):
    """A used-up number of inotify watches costs speed, not changes."""

    async def awatch(*paths, **options):
        raise OSError("no watches left")
        yield

    monkeypatch.setattr("reconciler.sources.directories.awatch", awatch)
    monkeypatch.setattr("reconciler.sources.directories._RETRY_S", 0.1)
    async with watching(file) as edges:
        file.write_text("two")
        assert await edges.next() == {file}


@pytest.mark.parametrize("broken", ["wanted", "missed", "touched"])
async def test_what_ends_the_watch_on_directories_is_raised(file, monkeypatch, broken):
    """Nobody would know otherwise that saves are no longer seen at once. The next watch begins
    with everything.
    """
    source, stop = FileSource([file], quiet=QUIET), asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(source._directories, f"_{broken}", _raise)
        watch = source.watch(stop)
        assert await anext(watch) == {file}
        asyncio.get_running_loop().call_later(2 * QUIET, file.write_text, "two")
        with pytest.raises(ValueError, match="broken"):
            await asyncio.wait_for(anext(watch), 90)
    async for changed in source.watch(stop):
        assert changed == {file}
        stop.set()


def _raise(*_):
    raise ValueError("broken")


async def test_without_events_the_slow_reread_finds_the_change(file, monkeypatch):
    """Network mounts have no events."""
    monkeypatch.setattr(FileSource, "_on_events", lambda self, touched: None)
    monkeypatch.setattr("reconciler.sources.directories.Directories.replan", lambda self: None)
    async with watching(file, reread=0.3) as edges:
        file.write_text("two")
        assert await edges.next() == {file}
        await edges.none()


async def test_a_changed_byte_in_a_source_folder_is_an_edge(tmp_path, file):
    """Folders that documents name are compared by content, deep down; what is excluded from
    publishing is not content.
    """
    adapter = tmp_path / "adapters" / "a"
    (adapter / "deep").mkdir(parents=True)
    (adapter / "deep" / "weights").write_bytes(b"\0" * 1000)
    cache = StatCache(tmp_path / "cache.db")
    async with watching(file, cache=cache) as edges:
        edges.source.set_watched({adapter}, {adapter: digest_tree(adapter, cache).digest})
        await edges.none()
        (adapter / "deep" / "weights").write_bytes(b"\0" * 999 + b"\1")
        assert await edges.next() == {adapter}
        (adapter / "__pycache__").mkdir()
        (adapter / "__pycache__" / "x.pyc").write_bytes(b"x")
        (adapter / "deep" / "half.tmp").write_bytes(b"x")
        os.utime(adapter / "deep" / "weights")
        await edges.none()
        shutil.rmtree(adapter)
        assert await edges.next() == {adapter}
        adapter.mkdir()
        (adapter / "weights").write_bytes(b"new")
        assert await edges.next() == {adapter}
        edges.source.set_watched(())
        await asyncio.sleep(QUIET)
        (adapter / "weights").write_bytes(b"newer")
        await edges.none()
    cache.close()


async def test_of_an_adapter_only_what_a_replica_reads_is_an_edge(tmp_path, file):
    """What a trainer leaves beside it is neither read nor an edge, and may have 100 GiB; nor does a
    folder without an adapter yet keep other saves waiting.
    """
    done, begun = tmp_path / "done", tmp_path / "begun"
    for folder in (done, begun):
        (folder / "checkpoint-1").mkdir(parents=True)
        for path in (folder / "optimizer.pt", folder / "checkpoint-1" / "optimizer.pt"):
            with path.open("wb") as sparse:
                sparse.truncate(100 << 30)
    (done / "adapter_config.json").write_text("{}")
    known = {done: digest_tree(done, only=("adapter_config.json",)).digest}
    async with watching(file) as edges:
        edges.source.set_watched({done, begun}, known, adapters={done, begun})
        assert await edges.next() == {begun}
        save_in_place(file)
        assert await edges.next() == {file}
        os.utime(done / "optimizer.pt")
        await edges.none()
        (done / "adapter_config.json").write_text("[]")
        assert await edges.next() == {done}
        (begun / "adapter_config.json").write_text("{}")
        assert await edges.next() == {begun}


async def test_a_folder_that_changed_before_it_was_watched_is_an_edge(tmp_path, file):
    """Between digesting a folder and watching it, nothing is lost."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "app.py").write_text("new")
    async with watching(file) as edges:
        edges.source.set_watched({folder}, {folder: "digest of the old"})
        assert await edges.next() == {folder}
