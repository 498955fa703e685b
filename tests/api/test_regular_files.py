"""What is no file is refused at once, wherever a person or a document names it: nothing waits for a
writer that never comes.
"""

import os
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.api.digest import TreeError, digest_tree
from reconciler.api.manifest import load
from reconciler.api.problems import ManifestError
from reconciler.api.regular_files import read_regular
from reconciler.sources.watched import ManifestFile, ManifestFolder

SERVICE = """kind: InferenceService
metadata: {name: phi}
spec:
  model: {source: ./model}
  adapters: [{name: red, source: ./red, evaluation: cases.yaml}]
"""
KINDS = ("fifo", "socket", "device")


@pytest.fixture(params=KINDS)
def put(request):
    """Puts something that is no file at a path."""
    kept = []

    def make(path: Path) -> Path:
        if request.param == "fifo":
            os.mkfifo(path)
        elif request.param == "socket":
            with inside(path.parent):  # its address has 107 characters at most
                kept.append(socket.socket(socket.AF_UNIX))
                kept[-1].bind(path.name)
        else:
            path.symlink_to("/dev/zero")
        return path

    yield make
    for each in kept:
        each.close()


@contextmanager
def inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def problems_of(*paths):
    with pytest.raises(ManifestError) as raised:
        load(paths)
    return str(raised.value)


@pytest.mark.timeout(60)
def test_as_a_manifest(tmp_path, put):
    """`-f` says what it is instead of waiting; so does the watch of the files."""
    path = put(tmp_path / "it.yaml")
    assert "it is neither a file nor a folder" in problems_of(path)
    assert "it is neither a file nor a folder" in problems_of(tmp_path)
    assert ManifestFile(path).fingerprint().startswith("unreadable")
    assert "unreadable" in ManifestFolder(tmp_path).fingerprint()


@pytest.mark.timeout(60)
def test_in_a_source(tmp_path, put):
    """As a source, inside one, as an adapter's configuration and as its evaluation."""
    (tmp_path / "it.yaml").write_text(SERVICE)
    put(tmp_path / "model")
    (tmp_path / "red").mkdir()
    put(tmp_path / "red" / "adapter_config.json")
    put(tmp_path / "cases.yaml")
    told = problems_of(tmp_path / "it.yaml")
    assert "is not a folder" in told
    assert "cases.yaml is not a file" in told
    assert "adapter 'red' cannot be served" in told
    with pytest.raises(TreeError, match=r"adapter_config.json is (neither|a link)"):
        digest_tree(tmp_path / "red")


def test_a_link_to_nothing_is_no_absence(tmp_path):
    """A file of the folder that cannot be read is a problem: leaving it out would look as if its
    documents were deleted.
    """
    (tmp_path / "one.yaml").write_text("kind: Environment\nmetadata: {name: dev}\n")
    (tmp_path / "two.yaml").symlink_to(tmp_path / "swapped" / "two.yaml")
    assert "two.yaml: there is no such file" in problems_of(tmp_path)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    """A limit bounds what is read, and a shorter file is read whole."""
    (tmp_path / "it").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "it", 4) == b"0123"
    assert read_regular(tmp_path / "it", 40) == read_regular(tmp_path / "it") == b"0123456789"
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
