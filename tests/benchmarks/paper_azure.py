"""The local Azure with replicas on paper: a thousand processes do not fit on the machine that
measures. ARM, Files, login, journal and ingress are the real ones, in their own processes.

    python -m tests.benchmarks.paper_azure serve --state-dir DIR [options of infra.local_azure]

A replica is a record that is ready after `BOOT`. One process answers for all of them, in a network
namespace of its own: every GET and POST with 200. Used by `scale`.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.local_azure.runtime import kernel, namespace, scheduler
from infra.local_azure.runtime.replica import Replica
from infra.local_azure.runtime.shim_control import ShimControl
from infra.local_azure.runtime.workload import Workload

BOOT = 0.2  # seconds from the start of a replica until it is ready
PORTS = (8000, 8080)  # of a model service and of `house.code_service`
FOLDER, SOCKET = "paper", "paper.sock"


class PaperReplica(Replica):
    """Runs nothing. Its container exists as long as nobody kills it, and is back after `BOOT`."""

    def start(self, images: Path, hidden: Path) -> None:
        self.placed = True
        self._directory.mkdir(parents=True, mode=0o700)
        self._state |= {"phase": "Running", "reason": "", "started_at": time.time(), "notes": {}}
        self._boot()

    @property
    def shim_socket(self) -> Path:
        """One socket for all: each connection to it leads to the same answers."""
        return self._directory.parents[1] / FOLDER / SOCKET

    def kill(self) -> None:
        self._state["restarts"] += 1
        self._set(ready=False)
        self._boot()

    def follow(self, workload: Workload) -> None:
        self.workload = workload

    def set_ailment(self, name: str) -> None:
        before, self._ailment = self._ailment, name
        if name != before:
            self._set(ready=not name and not self.terminating)

    async def stop(self) -> bool:
        self.terminating = True
        self._set(ready=False)
        return True

    async def wait_ended(self, drained: Coroutine[Any, Any, None] | None) -> None:
        if drained is not None:
            drained.close()
        if not self.ended:
            self.ended, self.ready = True, False
            self._directory.rmdir()
            self._on_change()

    def release(self) -> None:
        """Nothing runs that another scheduler could adopt."""

    def _boot(self) -> None:
        asyncio.get_running_loop().call_later(BOOT, self._up)

    def _up(self) -> None:
        if not (self.terminating or self.ended or self._ailment):
            self.started = self.ready = True
            self._on_change()


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


def answer_for_all(folder: Path) -> None:
    """A child process that serves `PORTS` in its own network, and hands out sockets there."""
    if os.fork():
        return
    kernel.die_with_parent(signal.SIGKILL)
    namespace.enter("paper")
    for port in PORTS:
        server = ThreadingHTTPServer(("127.0.0.1", port), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    os.chdir(folder)  # so that the socket's name fits into 108 bytes
    selector = selectors.DefaultSelector()
    ShimControl(Path(SOCKET), selector, lambda _: {"phase": "Running"})
    while True:
        for key, _ in selector.select():
            act: Callable[[], None] = key.data
            act()


def main() -> int:
    from infra.local_azure.__main__ import main as serve

    folder = Path(sys.argv[sys.argv.index("--state-dir") + 1]).absolute() / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    answer_for_all(folder)
    scheduler.Replica = PaperReplica  # type: ignore[misc]
    return serve()


if __name__ == "__main__":
    sys.exit(main())
