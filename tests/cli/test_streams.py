"""Standard streams that are closed, full or left by their reader."""

import io
import signal
import subprocess
import sys

import pytest

from reconciler.cli.output.console import Console
from reconciler.cli.up import ending_signals
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


def test_ctrl_c_before_a_command_runs_is_a_word():
    """While its modules are imported: exit code 130, and no traceback."""
    code = (
        "import sys; from reconciler import cli\n"
        "class Key:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'reconciler.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Key()); cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_closed_terminal_ends_a_run_in_order_unless_nohup_was_asked():
    """SIGHUP is as SIGTERM; who ignores it goes on ignoring it."""
    assert signal.SIGHUP in ending_signals()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ending_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_name_between_colons_is_no_picture():
    """Rich would print a picture for `:key:`, and keep a table of all their names in memory."""
    written = io.StringIO()
    Console(file=written).print("see image:key:1")
    assert written.getvalue() == "see image:key:1\n"
