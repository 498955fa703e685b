"""The write of a file of documents: whole or not at all, with its mode, and never through a link."""

import pytest

from reconciler.cli.document_file import DocumentFile
from reconciler.cli.exits import CommandError, Exit


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "moorage.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2")
    path.chmod(0o600)
    return path


def changed(path):
    read = DocumentFile.read(path)
    return DocumentFile(path, read.data, read.text.replace("1", "9"))


def test_the_rest_of_the_file_stays(file):
    """Its mark, its line ends, its mode; nothing is left beside it."""
    change = changed(file)
    assert [line[:4] for line in change.difference()][-3:] == ["-a: ", "+a: ", " b: "]
    change.write()
    assert file.read_bytes() == b"\xef\xbb\xbfa: 9\r\nb: 2"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [*file.parent.iterdir()] == [file]


def test_what_somebody_saved_meanwhile_is_kept(file):
    """The write is refused, and says so."""
    change = changed(file)
    file.write_bytes(b"a: 5\n")
    with pytest.raises(CommandError, match="changed meanwhile"):
        change.write()
    assert file.read_bytes() == b"a: 5\n"
    assert [*file.parent.iterdir()] == [file]


def test_a_link_is_refused(file, tmp_path):
    """What it leads to may be of others; the message names it."""
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    with pytest.raises(CommandError, match=str(file)) as refused:
        DocumentFile.read(link)
    assert refused.value.code == Exit.INVALID


def test_a_file_that_became_a_link_is_kept(file, tmp_path):
    """Between the question and the answer."""
    change = changed(file)
    other = tmp_path / "other.yaml"
    file.rename(other)
    file.symlink_to(other)
    with pytest.raises(CommandError, match="changed meanwhile"):
        change.write()
    assert file.is_symlink()


def test_a_folder_without_room_is_told(file, monkeypatch):
    """An error of the disk is a sentence with the path."""
    change = changed(file)
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CommandError, match="cannot be written"):
        change.write()
    assert [*file.parent.iterdir()] == [file]
