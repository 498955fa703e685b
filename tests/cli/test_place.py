"""State belongs to documents: whichever folder a command runs in, it finds the same one."""

import os
from pathlib import Path

import pytest
import typer

from reconciler.cli.app import app, run
from reconciler.cli.exits import CommandError
from reconciler.cli.place import documents_near, expanded, state_near

DOCUMENT = "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\nspec: {}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a moorage.yaml and a folder below it, without settings from outside."""
    for name in ("MOORAGE_STATE_DIR", "MOORAGE_TARGET"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "p" / "adapters" / "one").mkdir(parents=True)
    (tmp_path / "p" / "moorage.yaml").write_text(DOCUMENT)
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


@pytest.mark.parametrize("below", [".", "adapters", "adapters/one"])
def test_documents_and_state_are_found_from_every_subfolder(project, monkeypatch, below):
    """The nearest moorage.yaml above is meant, and the state directory beside it."""
    monkeypatch.chdir(project / below)
    assert [file.absolute() for file in documents_near()] == [project / "moorage.yaml"]
    assert state_near().absolute() == project / ".moorage"


def test_the_state_of_named_documents_does_not_depend_on_the_folder(project, monkeypatch):
    """`-f` from elsewhere, from above and from beside the file: one state directory."""
    for folder in (project.parent, project, Path("/")):
        monkeypatch.chdir(folder)
        assert state_near([project / "moorage.yaml"]).absolute() == project / ".moorage"


@pytest.mark.parametrize(
    "words",
    [["status"], ["key", "phi"]],
    ids=" ".join,
)
def test_every_command_finds_the_state_of_named_documents(project, monkeypatch, capsys, words):
    """From another folder, with documents of its own, `-f` names those that are meant; and the
    next command means the nearest ones again.
    """
    other = project.parent / "other"
    other.mkdir()
    (other / "moorage.yaml").write_text(DOCUMENT)
    monkeypatch.chdir(other)
    run([*words, "-f", str(project / "moorage.yaml")])
    told = "".join(capsys.readouterr())
    assert str(project) in told.replace("\n", " ")
    assert str(other) not in told
    assert run([*words, "-f", "nosuch.yaml"]) == 2
    assert "nosuch.yaml: there is no such file" in capsys.readouterr().err
    run(words)
    assert str(project / "") not in "".join(capsys.readouterr())


def test_every_command_with_a_state_directory_takes_documents():
    """None of them must be left to the folder that a person happens to be in."""

    def walk(command, path=""):
        for name, one in getattr(command, "commands", {}).items():
            yield from walk(one, f"{path} {name}")
        options = {option for each in command.params for option in each.opts}
        if "--state-dir" in options and "--file" not in options:
            yield path

    assert list(walk(typer.main.get_command(app))) == []


def test_documents_of_another_name_keep_their_state_in_the_folder_of_the_first_run(
    project, monkeypatch
):
    """`up -f manifests/x.yaml` in a checkout keeps its state at the top, where it is found again
    from the folder of the documents.
    """
    (project / "moorage.yaml").unlink()
    (project / "manifests").mkdir()
    (project / "manifests" / "x.yaml").write_text(DOCUMENT)
    first = state_near([Path("manifests/x.yaml")])
    assert first == Path(".moorage")
    first.mkdir()
    monkeypatch.chdir(project / "manifests")
    assert documents_near() == (Path(),)
    assert state_near().absolute() == project / ".moorage"
    assert state_near([Path("x.yaml")]).absolute() == project / ".moorage"


def test_a_project_in_a_project_has_its_own_state(project, monkeypatch):
    """The walk ends at the nearest moorage.yaml, also where a folder above has state."""
    (project / ".moorage").mkdir()
    (project / "adapters" / "moorage.yaml").write_text(DOCUMENT)
    monkeypatch.chdir(project / "adapters" / "one")
    assert state_near().absolute() == project / "adapters" / ".moorage"


def test_the_walk_ends_at_a_repository_and_below_the_home_folder(project, monkeypatch):
    """What lies above either is another project's."""
    (project.parent / ".moorage").mkdir()
    (project / "moorage.yaml").unlink()
    monkeypatch.setenv("HOME", str(project.parent))
    assert state_near() == Path(".moorage")
    monkeypatch.setenv("HOME", "/nowhere")
    assert state_near().absolute() == project.parent / ".moorage"
    (project / ".git").mkdir()
    assert state_near() == Path(".moorage")


def test_the_state_of_another_user_is_not_trusted(project, monkeypatch):
    """In a folder that all may write to, somebody may have put one there."""
    (project / ".moorage").mkdir()
    monkeypatch.chdir(project / "adapters")
    assert state_near().absolute() == project / ".moorage"
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    (project / "moorage.yaml").unlink()
    assert state_near() == Path(".moorage")


def test_documents_are_those_of_the_folder_without_a_moorage_yaml(project, monkeypatch, capsys):
    """`validate` without -f reads the folder, and says what is missing in one that has none."""
    assert run(["validate"]) == 0
    monkeypatch.chdir(project / "adapters")
    (project / "moorage.yaml").rename(project / "adapters" / "dev.yaml")
    (project / "adapters" / "values.yaml").write_text("a: 1\n")
    assert documents_near() == (Path(),)
    monkeypatch.chdir(project / "adapters" / "one")
    capsys.readouterr()
    assert run(["validate"]) == 2
    assert "There are no documents here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["key phi", "logs phi", "chat phi", "down -y", "take-over other -f moorage.yaml"],
)
def test_no_command_but_those_that_deploy_starts_a_local_azure(project, capsys, command):
    """Exit code 1 with what to do, and no folder for a second local Azure."""
    assert run(command.split()) == 1
    said = capsys.readouterr().err
    assert f"There is no local Azure in {project}/.moorage/local-azure" in said
    assert "`moorage up` starts one" in said
    assert not (project / ".moorage").exists()


def test_home_and_variables_are_filled_in(project, monkeypatch, capsys):
    """`~` and `$HOME` as a shell would; a variable that is not set is named, with exit code 2."""
    monkeypatch.setenv("HOME", str(project))
    assert expanded(Path("~/moorage.yaml")) == project / "moorage.yaml"
    assert expanded(Path("$HOME/moorage.yaml")) == project / "moorage.yaml"
    assert expanded(Path("${HOME}/moorage.yaml")) == project / "moorage.yaml"
    (project / "a$b").write_text("")
    assert expanded(Path("a$b")) == Path("a$b")
    with pytest.raises(CommandError, match="the variable MISSING_ONE is not set"):
        expanded(Path("$MISSING_ONE/x"))
    with pytest.raises(CommandError, match="no such user"):
        expanded(Path("~no-such-user-here/x"))
    assert run(["validate", "-f", "$MISSING_ONE/x"]) == 2
    assert "Errno" not in capsys.readouterr().err
