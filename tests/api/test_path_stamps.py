"""A stamp that stays the same while something changed would keep a stale judgement for ever."""

import os
from pathlib import Path

import pytest

from reconciler.api import path_stamps
from reconciler.api.manifest import ManifestError, load
from reconciler.api.path_stamps import PathStamps


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a file, a file below, a link to a file elsewhere, and a checkout."""
    monkeypatch.setattr(path_stamps, "YOUNG_NS", 0)
    (tmp_path / "elsewhere").write_text("blob")
    made = tmp_path / "model"
    (made / "below").mkdir(parents=True)
    (made / ".git").mkdir()
    (made / "config.json").write_text("{}")
    (made / "below" / "weights").write_text("1")
    (made / "link").symlink_to(tmp_path / "elsewhere")
    return made


def age(path: Path) -> None:
    """Set the modification time back, as `cp -p` and archives do."""
    os.utime(path, (1, 1))


CHANGES = {
    "a file is written": lambda made: (made / "config.json").write_text("{} "),
    "a file is written with its time set back": lambda made: age(made / "config.json"),
    "a file below is written": lambda made: (made / "below" / "weights").write_text("12"),
    "a file is replaced": lambda made: (made / "link").replace(made / "config.json"),
    "a file comes": lambda made: (made / "new").write_text(""),
    "a file goes": lambda made: (made / "config.json").unlink(),
    "what a link leads to is written": lambda made: (made.parent / "elsewhere").write_text("bloc"),
    "what a link leads to goes": lambda made: (made.parent / "elsewhere").unlink(),
    "a file becomes unreadable": lambda made: (made / "config.json").chmod(0),
    "the folder goes": lambda made: made.rename(made.with_name("gone")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_gives_another_stamp(folder, change):
    """Written, replaced, linked or gone: nothing is taken for what it was."""
    before = PathStamps().of(folder)
    change(folder)
    assert PathStamps().of(folder) != before


def test_what_is_no_content_changes_nothing(folder):
    """A commit in a folder of code, for one, is not another version of it."""
    before = PathStamps().of(folder)
    (folder / ".git" / "HEAD").write_text("main")
    assert PathStamps().of(folder) == before is not None


def test_a_young_file_has_no_stamp(tmp_path):
    """A later write within the same tick of a coarse clock would go unseen."""
    (tmp_path / "file").write_text("one")
    assert PathStamps().of(tmp_path / "file") is None
    assert PathStamps().of_all([tmp_path / "file"]) is None


def test_paths_are_resolved_as_the_system_does(folder):
    """Links in the path, at its end, `..` behind a link, and what is not there."""
    root, stamps = folder.parent, PathStamps()
    (root / "to-model").symlink_to(folder)
    for path in (
        folder,
        root / "to-model",
        root / "to-model" / "below",
        root / "to-model" / "link",
        root / "to-model" / ".." / "elsewhere",
        root / "missing" / "below",
        folder / "missing",
    ):
        assert stamps.resolve(path) == path.resolve()


SERVICE = """\
kind: InferenceService
metadata: {name: web}
spec: {code: ./code, command: [run], targetPort: 80}
"""


def test_a_folder_that_goes_is_missed_by_a_document_that_did_not_change(tmp_path, monkeypatch):
    """What was found out about a document holds for the folders that it was found out from."""
    monkeypatch.setattr(path_stamps, "YOUNG_NS", 0)
    known = {}
    (tmp_path / "web.yaml").write_text(SERVICE)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "run").write_text("")
    first, again = (load([tmp_path], known).documents[0] for _ in range(2))
    assert first is again
    (tmp_path / "code").rename(tmp_path / "away")
    with pytest.raises(ManifestError, match="code does not exist"):
        load([tmp_path], known)
    (tmp_path / "away").rename(tmp_path / "code")
    assert load([tmp_path], known).documents[0] is first


def test_a_document_of_the_same_size_and_age_is_read_again(tmp_path, monkeypatch):
    """A saver that sets the modification time back cannot hide a save."""
    monkeypatch.setattr(path_stamps, "YOUNG_NS", 0)
    known, file = {}, tmp_path / "web.yaml"
    (tmp_path / "code").mkdir()
    for port in (80, 81):
        file.write_text(SERVICE.replace("80", str(port)))
        age(file)
        assert load([file], known).documents[0].document.spec.target_port == port
