"""Commands beside a state file that cannot be used: one sentence about it, and no error of ours."""

import pytest

from reconciler.cli import app
from reconciler.engine.external import DocumentRef, ObjectKey, Policy
from reconciler.engine.record import ObjectRecord, Phase
from reconciler.engine.store import Store
from tests.e2e.stage import Stage, environment

COMMANDS = {
    "status": (0, "nothing has been observed yet"),
    "events": (0, "target:"),
    "approve --yes": (1, "Nothing is known here to wait for approval"),
    "adapter promote phi style": (1, "No service 'phi' is known here"),
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    path = tmp_path / "daemon" / "local" / "state.db"
    path.parent.mkdir(parents=True)
    return path


def damage(path):
    path.write_bytes(b"no database" * 100)


def replace_by_a_folder(path):
    path.mkdir()


@pytest.mark.parametrize("break_it", [damage, replace_by_a_folder])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_that_the_file_cannot_be_read(path, capsys, command, break_it):
    """What the file held is not known, which is not the same as that there was nothing."""
    break_it(path)
    code, said = COMMANDS[command]
    assert app.run(command.split()) == code
    printed = capsys.readouterr()
    assert f"{path} cannot be read" in printed.err
    assert said in printed.out + printed.err
    assert "met an error" not in printed.err


def test_an_approval_that_cannot_be_written_is_not_given(path, capsys, monkeypatch):
    """A full or read-only disk: exit code 1, and nothing is called approved."""
    store = Store.open(path, "local")
    waiting = ObjectRecord(
        ObjectKey("ContainerApp", "phi"),
        DocumentRef("InferenceService", "phi"),
        policy=Policy.MANAGE,
        phase=Phase.LINGERING,
    )
    store.put_object(waiting)
    store.close()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "open", full)
    assert app.run(["approve", "--yes"]) == 1
    printed = capsys.readouterr()
    assert f"{path} cannot be written" in printed.err
    assert "approved" not in printed.out


@pytest.mark.e2e
def test_down_goes_on_without_the_file(tmp_path):
    """It deletes by Azure's own tags, and says that it works from memory."""
    with Stage(tmp_path) as stage:
        stage.save(environment("dev"))
        stage.once()
        for file in (stage.state / "daemon" / "local").glob("state.db*"):
            file.unlink()
        (stage.state / "daemon" / "local" / "state.db").mkdir()
        done = stage.moorage("down", "-y", "-f", str(stage.manifest))
        assert "state.db cannot be used" in done.stderr
        assert "goes on from memory" in done.stderr
        assert "ManagedEnvironment/dev  deleted" in done.stdout
