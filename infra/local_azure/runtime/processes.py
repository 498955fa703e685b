"""Finds and kills every process of a container by the label on its root mount: children inherit it,
nobody can shed it.

Used by the shim when a container ends, and by the scheduler when a shim has died.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROUNDS = 50


def labelled(label: str) -> Iterator[int]:
    """The pids of all processes whose root mount carries `label`, or one of its containers' labels
    (`label+name`).
    """
    mine = _namespace("self")
    for entry in [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]:
        with suppress(OSError):
            if _namespace(entry) != mine and _below(_root_label(entry), label):
                yield int(entry)


def kill_all(label: str) -> None:
    """SIGKILLs the processes of `label` until none that can still run is left (a fork may race the
    listing).
    """
    for _ in range(_ROUNDS):
        living = [pid for pid in labelled(label) if not _is_zombie(pid)]
        if not living:
            return
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def catches_sigterm(pid: int) -> bool:
    """Whether the process has a SIGTERM handler; without one, process 1 of a container never sees
    the signal.
    """
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    except OSError:
        pass
    return False


def _namespace(pid: str) -> Path:
    return Path(f"/proc/{pid}/ns/mnt").readlink()


def _root_label(pid: str) -> str | None:
    with Path(f"/proc/{pid}/mountinfo").open() as lines:
        for line in lines:
            fields = line.split()
            if fields[4] == "/":
                return fields[fields.index("-") + 2]
    return None


def _below(found: str | None, label: str) -> bool:
    return found is not None and (found == label or found.startswith(f"{label}+"))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
