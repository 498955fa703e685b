"""Scripted faults of a running replica: it crashes, hangs, or never becomes ready. Used by
`replica`.
"""

import contextlib
import os
import signal

from . import processes


def kill(pid: int | None) -> None:
    """End a container at once, as a failing node does; its shim starts it again."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def freeze(label: str, *, frozen: bool) -> None:
    """Stop every process of a replica, so that it hangs, or let them continue."""
    for pid in processes.labelled(label):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)


def strike(ailment: str, label: str, pid: int | None) -> None:
    """Apply an ailment to a running container: "crash", "hang", or neither."""
    if ailment == "crash":
        kill(pid)
    elif ailment == "hang":
        freeze(label, frozen=True)
