"""A set with a given identity may be run from several places: what another place asks for is not
gone, as long as its files are there.
"""

import pytest

from reconciler.engine.store import MEMORY, Store
from reconciler.sources.identity import set_of
from reconciler.sources.set_files import note_files, other_files

TEAM = ["team"]


@pytest.fixture
def store():
    return Store.open(MEMORY, "local")


def folder(root, name):
    made = root / name
    made.mkdir(parents=True)
    (made / "a.yaml").write_text("kind: Environment\n")
    return made


def test_other_files_count_until_they_are_covered_or_gone(store, tmp_path):
    """Whichever place was run last; another set has files of its own."""
    one, two = folder(tmp_path, "one"), folder(tmp_path, "two")
    note_files(store, TEAM, [one])
    assert other_files(store, TEAM, [two]) == (one,)
    note_files(store, TEAM, [two])
    assert other_files(store, TEAM, [one]) == (two,)
    assert other_files(store, TEAM, [one / "a.yaml"]) == (one, two)
    assert other_files(store, TEAM, [one, two]) == ()
    assert other_files(store, TEAM, [tmp_path]) == ()
    assert other_files(store, ["theirs"], [two]) == ()
    (one / "a.yaml").unlink()
    assert other_files(store, TEAM, [two]) == ()


def test_a_link_and_a_renamed_file_are_no_other_files(store, tmp_path):
    """The same documents by another path, and a file that has another name now."""
    one = folder(tmp_path, "one")
    link = tmp_path / "link"
    link.symlink_to(one)
    note_files(store, TEAM, [one, tmp_path / "b.yaml"])
    assert other_files(store, TEAM, [link]) == ()
    note_files(store, TEAM, [link])
    assert other_files(store, TEAM, [one]) == ()


def test_two_clones_of_a_repository_hold_the_same_documents(store, tmp_path):
    """A build that checks the repository out anew has the whole set before it."""
    for name in ("build-1", "build-2"):
        git = folder(tmp_path, f"{name}/docs").parent / ".git"
        git.mkdir()
        (git / "config").write_text('[remote "origin"]\n\turl = https://example.com/a/b\n')
    first, second = (tmp_path / name / "docs" for name in ("build-1", "build-2"))
    note_files(store, TEAM, [first])
    assert other_files(store, TEAM, [second]) == ()
    assert other_files(store, TEAM, [second / "a.yaml"]) == (first,)


def test_a_set_that_was_run_is_known_by_a_link_too(tmp_path):
    """And a file of it that is named by a link to its folder is a part of it."""
    one = folder(tmp_path, "one")
    (tmp_path / "link").symlink_to(one)
    last = set_of([one])
    assert set_of([tmp_path / "link"], last=last).identity == last.identity
    assert not set_of([tmp_path / "link"], last=last).partial
    assert set_of([tmp_path / "link" / "a.yaml"], last=last).partial
    last = set_of([tmp_path / "link"], last=last)
    assert set_of([one / "a.yaml"], last=last).partial
