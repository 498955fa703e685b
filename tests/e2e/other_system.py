"""`moorage` as on a system that is not Linux: the modules and calls that Windows lacks are hidden,
the event loop takes no signal handlers, text without an encoding is an error, and the console knows
only a few letters. `python -m tests.e2e.other_system ARGUMENTS` runs one command.

The platform's name stays that of Linux, because Python's own modules ask for it.
"""

import asyncio
import builtins
import io
import os
import sys
import time
import warnings
from types import ModuleType

import reconciler.engine.clock
import reconciler.lock

MODULES = ("fcntl", "uvloop", "pwd", "grp", "resource", "termios", "tty", "pty", "readline")
CALLS = ("pread", "pwrite", "fork", "getuid", "geteuid", "setsid", "getpgid", "killpg")
FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_DIRECTORY")
OURS = ("reconciler", "serving", "infra")


class FakeLocks:
    """`msvcrt` as far as it is used: a lock of a byte, kept by the process."""

    LK_NBLCK = 2

    @staticmethod
    def locking(file: int, mode: int, count: int) -> None:
        os.lockf(file, os.F_TLOCK, count)


def hide() -> None:
    asyncio.events.AbstractEventLoop.add_signal_handler = _refuse
    asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = _refuse
    found = builtins.__import__

    def load(name, where=None, *rest, **more):
        asker = (where or more.get("globals") or {}).get("__name__", "").partition(".")[0]
        if name.partition(".")[0] in MODULES and asker in OURS:
            raise ImportError(f"Windows has no {name}")
        return (
            found(name, where, *rest, **more) if where is not None else found(name, *rest, **more)
        )

    builtins.__import__ = load
    windows = ModuleType("sys")
    windows.platform = "win32"
    for module in (reconciler.lock, reconciler.engine.clock):
        module.sys = windows
    sys.modules["msvcrt"] = FakeLocks
    del time.clock_gettime
    # Windows always sets it, and `getpass` asks `pwd` and `os.getuid` only where it is absent.
    os.environ.setdefault("USERNAME", "somebody")
    for name in (*CALLS, *FLAGS):
        if hasattr(os, name):
            delattr(os, name)
    warnings.filterwarnings("error", category=EncodingWarning, module=rf"({'|'.join(OURS)})\b.*")
    for stream in ("stdout", "stderr"):
        plain = io.TextIOWrapper(getattr(sys, stream).buffer, encoding="cp1252", newline="\n")
        setattr(sys, stream, plain)


def _refuse(*_: object) -> None:
    raise NotImplementedError


if __name__ == "__main__":
    hide()
    from reconciler.cli import main

    main()
