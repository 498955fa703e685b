"""What commands print that ask Azure: at each width the words of the pipe, none cut, no line too
long, no colour in a pipe. `tests/cli/test_every_command.py` has those that read the state alone.
"""

import fcntl
import os
import pty
import re
import select
import struct
import termios

import pytest

from tests.e2e.stage import MOORAGE, service

pytestmark = pytest.mark.slow
AGE = re.compile(r"\(?\d+[smhd](\)|,)?|ago|[\d:.TZ-]{6,}Z?")
# Values and snippets are printed as they are: a terminal breaks them, and copying gives one line.
VALUES = re.compile(r"curl|https?://|export |\d{4}-\d\d-\d\dT")
COMMANDS = (
    "plan",
    "doctor",
    "diff web",
    "accept web",
    "usage",
    "history web",
    "status",
    "status web",
    "events",
    "client web",
    "key web",
    "key nobody",
    "logs web --system",
    "warm web",
    "warm nobody",
    "wait web --for Synced --timeout 1s",
    "adapter list",
    "down --dry-run",
    "up --once --timeout 60s",
    "rollback web",
    "approve",
    "validate",
)


@pytest.fixture(scope="module")
def done(stage):
    """A service that serves, and one whose second revision failed and was rolled back."""
    for name in ("web", "worker"):
        stage.code(name)
    stage.save(service("web"), service("worker"))
    stage.once()
    broken = ["python3", "-c", "raise SystemExit('no module named fancy')"]
    stage.save(service("web"), service("worker", command=broken, progressDeadlineSeconds=10))
    stage.once(code=None)
    return stage


def at_terminal(stage, line, width):
    """The exit code, and all that a terminal of that width receives."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        env = {k: v for k, v in stage.env.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        os.chdir(stage.root)
        env |= {"TERM": "xterm-256color", "MOORAGE_STATE_DIR": str(stage.state)}
        os.execve(MOORAGE[0], [*MOORAGE, *line.split()], env)
    shown = b""
    while select.select([terminal], [], [], 120)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        shown += piece
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, shown.decode().replace("\r\n", "\n")


def settled(text):
    """What stays on the screen: without colours and without the line that a spinner redraws."""
    text = re.sub(r"[^\n]*\r\x1b\[2K|\x1b\[1A\x1b\[2K", "", text)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_asks_azure_fits_every_terminal(line, done):
    """The same exit code everywhere; a pipe has no control sequence and each word of a terminal."""
    piped = done.moorage(*line.split(), code=None)
    whole = piped.stdout + piped.stderr
    assert whole
    assert "\x1b" not in whole
    assert not re.search(r"\[Errno|Traceback|<class", whole)
    known = set(whole.split())
    for width in (60, 80, 120):
        code, shown = at_terminal(done, line, width)
        assert code == piped.returncode, (width, shown)
        plain = settled(shown)
        words = {each for each in plain.split() if not AGE.fullmatch(each)}
        # What `up` does differs from run to run, and a pipe gets the platform's events as JSON.
        if not line.startswith(("up", "logs")):
            assert {each for each in words - known if "moorage" not in each} <= HEADING, plain
        for row in plain.splitlines():
            long = max(map(len, row.split()), default=0)
            assert len(row) <= width or long > width - 30 or VALUES.search(row), (width, row)


HEADING = {"target:", "local", "Azure", "documents:", "(set"}  # only for a person who looks on
