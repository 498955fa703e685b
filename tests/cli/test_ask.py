"""The question before a command changes or deletes something, at a real terminal."""

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

ASKS = """
import asyncio, typer
from reconciler.cli import app as cli
from reconciler.cli.context import ask
one = typer.Typer(add_completion=False)
async def work():
    try:
        ask("Delete these?", "This would delete them.")
    finally:
        await asyncio.sleep(0)
        print("closed", flush=True)
@one.command()
def delete():
    asyncio.run(work())
cli.app = one
raise SystemExit(cli.run([]))
"""


def reads(pid):
    """Whether the process sleeps, as it does while it waits for a key. A signal just before the read
    would be noticed at the next key alone.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def answered(keys):
    """The exit code and what the terminal shows when a person types `keys` at the question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", ASKS])
    shown, deadline, looks = b"", time.monotonic() + 60, 0
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
        elif b"[y/N]" in shown:
            looks = looks + 1 if reads(pid) else 0
            if looks == 3:
                os.write(terminal, keys)
    else:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.parametrize(
    ("keys", "code", "said"),
    [(b"\x03", 130, "interrupted"), (b"n\n", 4, ""), (b"\n", 4, ""), (b"\x04", 130, "")],
    ids=["Ctrl-C", "no", "Enter", "Ctrl-D"],
)
def test_one_key_ends_a_question(keys, code, said):
    """Also within a task, which asyncio's own handler would only mark as cancelled; what is open is
    closed.
    """
    ended, shown = answered(keys)
    assert ended == code
    assert said in shown
    assert "closed" in shown
    assert "Traceback" not in shown
