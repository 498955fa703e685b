"""What a start compiled is kept on the share; whatever is wrong with it costs a compilation only."""

import gzip
import hashlib
import io
import os
import pathlib
import tarfile
import time
from pathlib import Path

import pytest

from serving.start import compile_cache as module
from serving.start.compile_cache import CompileCache, cache_key, compile_cache, hardware

KEY = "0123456789abcdef"


@pytest.fixture
def start(tmp_path):
    """Starts of an engine: each has its own disk, all have the same share."""
    count = iter(range(100))

    def one(replica=None, key=KEY):
        number = next(count)
        return CompileCache(
            tmp_path / "share", tmp_path / f"disk{number}", key, replica or f"r{number}"
        )

    return one


def compile_into(cache, text=b"compiled"):
    for name, folder in cache.environment.items():
        pathlib.Path(f"{folder}/deep").mkdir(parents=True)
        with pathlib.Path(f"{folder}/deep/{name}").open("wb") as file:
            file.write(text)


def first(start, **how):
    cache = start(**how)
    cache.restore()
    assert not cache.restored
    compile_into(cache)
    cache.keep()
    return cache


def archives(tmp_path):
    return sorted((tmp_path / "share").glob("*.tar.gz"))


def test_the_second_start_has_what_the_first_compiled(start, tmp_path):
    """Byte by byte, and the archive is written once."""
    first(start)
    written = [(path.name, path.stat().st_mtime_ns) for path in archives(tmp_path)]
    assert len(written) == 1
    second = start()
    second.restore()
    assert second.restored
    for name, folder in second.environment.items():
        with pathlib.Path(f"{folder}/deep/{name}").open("rb") as file:
            assert file.read() == b"compiled"
    second.keep()
    assert [(path.name, path.stat().st_mtime_ns) for path in archives(tmp_path)] == written
    assert not [path for path in (tmp_path / "share").iterdir() if path.name[0] == "."]


def _archive(path, *members, key=KEY, right=True):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size) if member.isreg() else None)
    digest = hashlib.sha256(data.getvalue()).hexdigest() if right else "0" * 64
    path.mkdir(exist_ok=True)
    (path / f"{key}-{digest}.tar.gz").write_bytes(data.getvalue())


def _member(name, size=1, **values):
    member = tarfile.TarInfo(name)
    member.size = size
    for field, value in values.items():
        setattr(member, field, value)
    return member


def _named(path, data):
    path.mkdir(exist_ok=True)
    digest = hashlib.sha256(data).hexdigest()
    (path / f"{KEY}-{digest}.tar.gz").write_bytes(data)


BAD = {
    "empty": lambda share: _named(share, b""),
    "no archive": lambda share: _named(share, b"hello" * 1000),
    "no tar": lambda share: _named(share, gzip.compress(os.urandom(5000))),
    "cut": lambda share: _named(share, gzip.compress(os.urandom(50_000))[:20_000]),
    "other hash": lambda share: _archive(share, _member("vllm/a"), right=False),
    "outside": lambda share: _archive(share, _member("../evil")),
    "absolute": lambda share: _archive(share, _member("vllm/../../../evil")),
    "link": lambda share: _archive(
        share, _member("vllm/l", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")
    ),
    "device": lambda share: _archive(share, _member("vllm/d", 0, type=tarfile.CHRTYPE)),
    "too large": lambda share: _archive(share, _member("vllm/a", 3000)),
    "too many": lambda share: _archive(share, *(_member(f"vllm/{n}") for n in range(6))),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_archive_costs_a_compilation(start, tmp_path, monkeypatch, bad):
    """Nothing of it reaches the disk that vLLM sees, it is removed, and the next is good."""
    monkeypatch.setattr(module, "MOST", 2000)
    monkeypatch.setattr(module, "_FILES", 5)
    bad(tmp_path / "share")
    cache = first(start)
    assert not (tmp_path / "evil").exists()
    assert [each.name for each in Path(cache.environment["VLLM_CACHE_ROOT"]).iterdir()] == ["deep"]
    again = start()
    again.restore()
    assert again.restored


def test_a_foreign_file_is_left_alone(start, tmp_path):
    """Another key's archive is not used and not removed: other hardware has its own."""
    first(start, key="f" * 16)
    (tmp_path / "share" / "notes.txt").write_text("x")
    first(start)
    assert len(archives(tmp_path)) == 2
    assert (tmp_path / "share" / "notes.txt").exists()


def test_a_start_that_failed_with_the_archive_is_repeated_without_it(start, tmp_path):
    """The platform restarts a container of the same replica: crashed, hung and killed alike."""
    first(start)
    start("phi-1").restore()  # and the container dies before it is ready
    other = start("phi-2")
    other.restore()
    assert other.restored, "another replica's start says nothing"
    again = start("phi-1")
    again.restore()
    assert not again.restored
    assert not archives(tmp_path)
    compile_into(again)
    again.keep()
    assert len(archives(tmp_path)) == 1


def test_what_is_too_large_is_not_kept(start, tmp_path, monkeypatch):
    """The share is bounded: by cache, and for all of an engine the newest stay."""
    monkeypatch.setattr(module, "MOST", 10)
    first(start)
    assert not archives(tmp_path)
    monkeypatch.setattr(module, "MOST", 1 << 20)
    for number in range(4):
        first(start, key=f"{number:016x}")
        os.utime(archives(tmp_path)[-1], (number, number))
    monkeypatch.setattr(module, "ALL", 2 * archives(tmp_path)[0].stat().st_size + 50)
    start().keep()
    assert [path.name[15] for path in archives(tmp_path)] == ["2", "3"]


def test_leftovers_of_dead_replicas_go_after_a_day(start, tmp_path):
    """A younger one may belong to a replica that works on it."""
    first(start)
    old, young = tmp_path / "share" / ".a.tmp", tmp_path / "share" / ".b.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    first(start, key="e" * 16)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_cache_that_came_too_late_does_not_appear(start):
    """vLLM runs already: its folder must not change under it."""
    first(start)
    late = start()
    late.give_up()
    late.restore()
    assert not pathlib.Path(late.environment["VLLM_CACHE_ROOT"]).exists()


def test_a_share_that_cannot_be_used_costs_nothing(tmp_path, caplog):
    """Neither reading nor writing raises."""
    (tmp_path / "file").write_text("x")
    cache = CompileCache(tmp_path / "file" / "compile", tmp_path / "disk", KEY, "r")
    cache.restore()
    compile_into(cache)
    cache.keep()
    assert "cannot be written" in caplog.text


def test_the_key_holds_what_compiled_code_depends_on(tmp_path):
    """Another engine, another variable of vLLM, another GPU, another processor: another cache."""

    def machine(flags, gpu):
        root = tmp_path / f"{flags}{gpu}"
        (root / "driver/nvidia/gpus/0").mkdir(parents=True)
        (root / "cpuinfo").write_text(f"processor: 0\nflags\t\t: {flags}\nbugs: x\n")
        (root / "driver/nvidia/gpus/0/information").write_text(f"Model: \t {gpu}\nIRQ: 1\n")
        (root / "driver/nvidia/version").write_text("NVRM version: 570.1\nGCC\n")
        return hardware(root)

    a100 = machine("sse avx", "NVIDIA A100")
    assert "NVIDIA A100" in a100
    keys = {
        cache_key("e1", {}, a100),
        cache_key("e2", {}, a100),
        cache_key("e1", {"VLLM_USE_X": "1"}, a100),
        cache_key("e1", {}, machine("sse avx", "NVIDIA T4")),
        cache_key("e1", {}, machine("sse", "NVIDIA A100")),
    }
    assert len(keys) == 5
    assert cache_key("e1", {"HOME": "/x"}, a100) == cache_key("e1", {}, a100)


@pytest.mark.parametrize(
    ("changes", "there"),
    [
        ({}, True),
        ({"MOORAGE_COMPILE_CACHE": "off"}, False),
        ({"VLLM_CACHE_ROOT": "/elsewhere"}, False),
        ({"MOORAGE_REPORTS": ""}, False),
    ],
)
def test_the_document_may_turn_it_off(changes, there):
    """Or keep the caches in a place of its own."""
    environment = {"MOORAGE_REPORTS": "/r", "MOORAGE_ENGINE": "abc", **changes}
    assert (compile_cache(environment, "r1") is not None) is there
