"""Weights are read from a share ahead of vLLM, by several readers, and never at a start's expense."""

import os
from pathlib import Path

import pytest

from serving.start import read_ahead as module
from serving.start.read_ahead import ReadAhead, free_memory, on_a_share, read_ahead, weight_files

MOUNTS = """\
20 1 0:1 / / rw - overlay overlay rw
31 20 0:5 / /mnt/moorage ro,relatime shared:1 - cifs //acc.file.core.windows.net/share ro,vers=3.1.1
32 31 0:6 / /mnt/moorage/cache rw - tmpfs tmpfs rw
33 20 0:7 / /mnt/with\\040space rw - nfs4 server:/x rw
torn
"""


def weights(folder: Path, **sizes: int) -> Path:
    folder.mkdir()
    for name, size in sizes.items():
        (folder / name.replace("_", ".")).write_bytes(os.urandom(size))
    return folder


@pytest.mark.parametrize("readers", [1, 4, 16])
def test_every_byte_is_read_once(tmp_path, readers, monkeypatch):
    """Files smaller than a block, larger than a chunk, and empty."""
    monkeypatch.setattr(module, "_CHUNK", 1 << 16)
    monkeypatch.setattr(module, "_BLOCK", 1 << 14)
    folder = weights(tmp_path / "m", a_safetensors=300_001, b_safetensors=5, c_safetensors=0)
    ahead = ReadAhead(weight_files(folder), readers)
    ahead.start()
    ahead.join(10)
    assert ahead.bytes == 300_006
    ahead.close()


def test_a_file_stays_open_until_the_start_is_over(tmp_path):
    """An SMB client forgets what it has read of a file that nobody has open."""
    folder = weights(tmp_path / "m", a_safetensors=10)
    ahead = ReadAhead(weight_files(folder), 2)
    ahead.start()
    ahead.join(10)
    held = [Path(f"/proc/self/fd/{each}").readlink() for each in ahead._held]
    assert held == [folder / "a.safetensors"]
    ahead.close()
    ahead.close()
    assert not ahead._held


def test_weights_larger_than_memory_are_left_alone(tmp_path, monkeypatch):
    """The pages read last would push out those that vLLM wants first."""
    monkeypatch.setattr(module, "free_memory", lambda: 100)
    ahead = ReadAhead(weight_files(weights(tmp_path / "m", a_safetensors=100)), 2)
    ahead.start()
    ahead.join(10)
    assert (ahead.bytes, ahead._held) == (0, [])


def test_a_file_that_goes_away_costs_nothing(tmp_path, caplog):
    """vLLM then tells what it lacks."""
    ahead = ReadAhead([tmp_path / "absent.safetensors"], 2)
    ahead.start()
    ahead.join(10)
    assert "not read ahead" in caplog.text


@pytest.mark.parametrize(
    ("given", "remote", "readers"),
    [
        ({}, True, module.READERS),
        ({}, False, None),
        ({"MOORAGE_READERS": "0"}, True, None),
        ({"MOORAGE_READERS": "3"}, True, 3),
        ({"MOORAGE_READERS": "3"}, False, 3),
        ({"MOORAGE_READERS": "9999"}, False, 64),
        ({"MOORAGE_READERS": "many"}, True, module.READERS),
    ],
)
def test_only_a_model_on_a_share_is_read_ahead_unless_told(
    tmp_path, monkeypatch, given, remote, readers
):
    """0 turns it off; a number holds wherever the model is."""
    monkeypatch.setattr(module, "on_a_share", lambda _: remote)
    folder = weights(tmp_path / "m", a_safetensors=10)
    found = read_ahead(str(folder), given)
    assert (found._readers if found else None) == readers
    assert read_ahead("org/name", given) is None
    assert read_ahead(None, given) is None


def test_the_weights_are_those_that_vllm_maps(tmp_path):
    """Safetensors before pickles, and no second copy of the same weights."""
    both = weights(tmp_path / "both", b_safetensors=1, a_safetensors=1, a_bin=1, config_json=1)
    assert [path.name for path in weight_files(both)] == ["a.safetensors", "b.safetensors"]
    twice = weights(tmp_path / "twice", consolidated_safetensors=1, model_safetensors=1)
    assert [path.name for path in weight_files(twice)] == ["model.safetensors"]
    only = weights(tmp_path / "only", consolidated_safetensors=1)
    assert [path.name for path in weight_files(only)] == ["consolidated.safetensors"]
    assert weight_files(weights(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("/mnt/moorage/models/phi", True),
        ("/mnt/moorage/cache/x", False),
        ("/mnt/moorages", False),
        ("/mnt/with space/x", True),
        ("/tmp", False),
    ],
)
def test_a_share_is_told_by_its_mount(path, remote):
    """The innermost mount decides."""
    assert on_a_share(Path(path), MOUNTS) is remote


def test_the_container_limit_bounds_the_free_memory(tmp_path):
    """The machine's memory is not the container's."""
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    1000 kB\n")
    assert free_memory(tmp_path, tmp_path) == 1000 << 10
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path, tmp_path) == 1000 << 10
    (tmp_path / "memory.max").write_text("4096\n")
    assert free_memory(tmp_path, tmp_path) == 4096
