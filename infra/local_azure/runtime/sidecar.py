"""A further container of a replica, beside the one that the probes and the ingress know. Owned by
the shim's selector loop.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from .console import Console
from .container import Command, Started, StartError, start
from .processes import catches_sigterm, kill_all


class Host(Protocol):
    """What the shim does for its containers."""

    def watch(self, started: Started, console: Console) -> None: ...

    def after(self, name: str, delay: float, action: Callable[[], None]) -> None: ...

    def changed(self) -> None: ...


class Sidecar:
    """Started with the replica, started again with a growing delay whenever it ends, as its first
    container is.
    """

    def __init__(
        self, name: str, command: Command, backoff: tuple[float, float], host: Host
    ) -> None:
        self.pid: int | None = None
        self.state: dict[str, Any] = {
            "name": name,
            "phase": "Waiting",
            "reason": "ContainerCreating",
            "pid": None,
            "restarts": 0,
        }
        self._command = command
        self._backoff, self._cap = backoff
        self._host = host
        self._crashes = 0
        self._begun = self._stopping = False
        self.console = Console(Path(console_name(name)))

    def begin(self) -> None:
        """Starts it for the first time; when the first container is started again this
        one goes on.
        """
        if not self._begun:
            self._begun = True
            self._start()

    def _start(self) -> None:
        if self._stopping:
            return
        try:
            started = start(self._command)
        except StartError as refused:
            self._wait(refused.reason, str(refused))
            return
        self.pid = started.pid
        self._host.watch(started, self.console)
        self.state |= {
            "phase": "Running",
            "reason": "",
            "message": "",
            "pid": started.pid,
            "started_at": time.time(),
        }
        self._host.changed()

    def ended(self) -> None:
        self.pid = None
        kill_all(self._command.plan.label)
        self._wait("CrashLoopBackOff", "")

    def stop(self, grace_s: float) -> None:
        self._stopping = True
        if self.pid is not None and catches_sigterm(self.pid):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self._host.after(f"kill {self.state['name']}", grace_s, self.kill)
        else:
            self.kill()

    def kill(self) -> None:
        kill_all(self._command.plan.label)

    def _wait(self, reason: str, message: str) -> None:
        self.state |= {"phase": "Waiting", "reason": reason, "message": message, "pid": None}
        delay = min(self._backoff * 2.0**self._crashes, self._cap)
        self._crashes += 1
        if not self._stopping:
            self._host.after(f"start {self.state['name']}", delay, self._restart)
        self._host.changed()

    def _restart(self) -> None:
        self.state["restarts"] += 1
        self._start()


def console_name(container: str) -> str:
    """The file of a sidecar's console lines, in the replica's folder."""
    return f"console-{container}.log"
