"""A name that nothing has: each command says which names there are, which one was meant, or how to
begin.
"""

from pathlib import Path

import pytest

from reconciler.cli import wait
from reconciler.cli.app import run
from reconciler.cli.unknown import MOST, listed
from reconciler.lock import FolderLock
from tests.web.worlds import World

OF_SERVICES = (
    "history",
    "promote",
    "rollback",
    "client",
    "open",
    "adapter list",
    "adapter promote {} sales",
    "adapter rollback {} sales",
    "diagnose",
)
OF_DOCUMENTS = ("pause", "resume", "reconcile", "events", "wait")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(wait, "LOOK", 0.02)
    monkeypatch.setattr(wait, "UNSEEN", 0.05)
    folder = tmp_path / "state" / "daemon" / "local"
    folder.mkdir(parents=True)
    return folder


def ended(command, name, capsys):
    line = command.format(name) if "{}" in command else f"{command} {name}"
    code = run(line.split())
    return code, " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", [*OF_SERVICES, *OF_DOCUMENTS])
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(command, folder, capsys):
    """And with all that there are; exit code 1. `wait` does not wait for its end beside a daemon."""
    world = World(folder / "state.db")
    world.service("support")
    world.service("sales")
    world.store.close()
    with FolderLock(folder):
        code, said = ended(command, "suport", capsys)
    assert code == 1
    assert "'suport'" in said
    assert "Did you mean support?" in said
    names = "sales, support." if command in OF_SERVICES else "default, sales, support."
    assert names in said


@pytest.mark.parametrize("command", sorted({*OF_SERVICES, *OF_DOCUMENTS} - {"diagnose", "events"}))
def test_before_the_first_run_a_name_is_answered_with_how_to_begin(command, folder, capsys):
    """There is nothing to list."""
    code, said = ended(command, "phi", capsys)
    assert code == 1
    assert "`moorage up`" in said
    assert "none" not in said


def test_of_many_names_some_are_listed():
    """A sentence about 300 services stays one."""
    text = listed("services", "nope", [f"s{number:03}" for number in range(300)])
    assert text.endswith(f" and {300 - MOST} more.")
    assert listed("adapters", "nope", []) == "adapters: none."


def test_commands_about_files_name_the_documents_of_the_files(folder, capsys):
    """`diff` and `accept`, which read the documents themselves."""
    Path("moorage.yaml").write_text(
        "apiVersion: moorage.dev/v1alpha1\nkind: InferenceService\nmetadata: {name: support}\n"
        "spec: {model: {source: share://models/phi}}\n"
    )
    for command in ("diff", "accept"):
        code, said = ended(command, "suport", capsys)
        assert code == 2
        assert said.endswith("documents: support. Did you mean support?")
