"""Standard streams that are closed, full or left by their reader."""

import subprocess
import sys

import pytest

from tests.web.worlds import World

MOORAGE = f"{sys.executable} -c 'from reconciler.cli import main; main()'"
PRINTS = ("status", "status -o json", "explain RolledBack", "--version", "schema")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a state that some commands print by Rich, and others by themselves."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "state" / "daemon" / "local"
    folder.mkdir(parents=True)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))
    world = World(folder / "state.db")
    for number in range(30):
        world.service(f"s{number}")
    world.store.close()


def in_bash(line):
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize("line", PRINTS)
def test_a_full_output_is_told_in_one_sentence(line, place):
    """Exit code 1, without a number of the error and without a file of details."""
    done = in_bash(f"{MOORAGE} {line} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "No more can be written: no space left on device.\n"


@pytest.mark.parametrize("line", ["events", "status", "schema"])
def test_a_reader_that_leaves_is_no_error(line, place):
    """`moorage events | head -1`: exit code 0 and no word."""
    done = in_bash(f"{MOORAGE} {line} | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_as_an_empty_one(stream, place):
    """A command that asks says that nobody can answer; the others do their work."""
    assert in_bash(f"{MOORAGE} status {stream}").returncode == 0
    asked = in_bash(f"{MOORAGE} approve {stream} < /dev/null")
    assert asked.returncode in (1, 4)
