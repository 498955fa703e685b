"""Which catalogue a replica follows on a share that may be torn, stale, foreign or gone."""

import pytest

from serving.watch import CatalogueWatch
from tests.serving.replica_share import ReplicaShare


@pytest.fixture
def share(tmp_path):
    return ReplicaShare(tmp_path / "share")


@pytest.fixture
def watch(share):
    return CatalogueWatch(share.catalogue_folder, share.service, share.engine)


def test_the_highest_valid_catalogue_wins(share, watch):
    """Generations are followed upwards."""
    assert watch.read() is None
    assert "no catalogue yet" in watch.problem
    share.write()
    share.write()
    assert watch.read().generation == 2
    share.write()
    assert watch.read().generation == 3
    assert watch.problem == ""


def test_an_epoch_outranks_every_generation_before_it(share, watch):
    """A new leader's first catalogue wins over an old leader's last."""
    old = share.write().model_copy(update={"generation": 900})
    (share.catalogue_folder / old.file_name).write_bytes(old.dump())
    new = old.model_copy(update={"epoch": 1, "generation": 1})
    (share.catalogue_folder / new.file_name).write_bytes(new.dump())
    assert watch.read() == new


@pytest.mark.parametrize("damage", ["torn", "empty", "hash", "service", "engine", "name", "folder"])
def test_a_bad_file_is_passed_over_and_named(share, watch, damage):
    """The best valid one below it is followed, and the look says what is wrong."""
    good = share.write()
    bad = good.model_copy(
        update={"generation": 5, **({damage: "x"} if damage in {"service", "engine"} else {})}
    )
    path = share.catalogue_folder / ("000000-000000009.json" if damage == "name" else bad.file_name)
    data = bad.dump()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(
            {
                "torn": data[:-9],
                "empty": b"",
                "hash": data.replace(b'"epoch": 0', b'"epoch": 1'),
            }.get(damage, data)
        )
    assert watch.read() == good
    assert path.name in watch.problem


def test_what_was_once_valid_is_kept_through_absence(share, watch):
    """Neither an empty nor a missing folder, nor an older file, takes a catalogue back."""
    share.write()
    last = share.write()
    assert watch.read() == last
    (share.catalogue_folder / last.file_name).unlink()
    assert watch.read() == last
    share.catalogue_folder.rename(share.catalogue_folder.with_name("gone"))
    assert watch.read() == last
    assert "cannot be read" in watch.problem


def test_other_files_in_the_folder_are_ignored(share, watch):
    """Temporary names of an upload in progress are not catalogues."""
    good = share.write()
    (share.catalogue_folder / "000000-000000002.json.tmp").write_bytes(b"{}")
    assert watch.read() == good
