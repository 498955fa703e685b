"""What PID 1 must do for its descendants on Linux: adopt orphans, reap them, and leave none
behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Processes whose parent dies become ours, as they would anyway where we are PID 1 of a
    container.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """A launch that was killed outright must not leave a server behind that holds the port and the
    memory.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`, from /proc; empty where there is none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in the second field may hold spaces and parentheses; the state follows the
            # last one.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def kill_descendants(pid: int, patience: float = 2.0) -> None:
    """SIGKILL everything below `pid` until nothing is left; a process may fork while we look, and
    needs a moment to die.
    """
    deadline = time.monotonic() + patience
    while (below := descendants(pid)) and time.monotonic() < deadline:
        for one in below:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, signal.SIGKILL)
        time.sleep(0.02)


def reap(except_for: int = 0) -> None:
    """Reap adopted orphans that have ended, except `except_for`, the child that somebody else waits
    for.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError, ChildProcessError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid() and int(entry.name) != except_for:
                os.waitpid(int(entry.name), os.WNOHANG)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
