"""`python -m infra.local_azure.ingress`: the ingress process, started and driven by `runtime.edge`;
it outlives the server.
"""

import argparse
import asyncio
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from infra.local_azure.faults.fault_store import FaultStore
from infra.local_azure.runtime.addresses import short_address

from .control import IngressControl
from .listeners import Listeners
from .table import Table

_CHECK_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="infra.local_azure.ingress")
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="the folder for ingress.sock and ingress.lock"
    )
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    options = parser.parse_args()
    ready, ready_end = os.pipe()
    if os.fork() > 0:  # the starter only waits until the socket listens
        os.close(ready_end)
        return 0 if os.read(ready, 1) else 1
    os.close(ready)
    _detach(options.state_dir)
    lock = (options.state_dir / "ingress.lock").open("w")
    try:
        fcntl.flock(
            lock, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # one ingress per state directory, whichever process starts it
    except OSError:
        os.write(ready_end, b"1")
        return 0
    uvloop.run(_serve(options, ready_end))
    return 0


def _detach(state_dir: Path) -> None:
    os.setsid()
    log = os.open(state_dir / "ingress.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


async def _serve(options: argparse.Namespace, ready: int) -> None:
    table = Table()
    table.faults = FaultStore(options.state_dir / "faults.db")
    listeners = Listeners(table, options.certificate, options.key)
    control = IngressControl(table, listeners)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, control.terminated.set)
    server = await control.serve(_listen(options.state_dir / "ingress.sock"))
    os.write(ready, b"1")
    os.close(ready)
    watching = asyncio.create_task(_watch(options.state_dir / "ingress.sock", control.terminated))
    await control.terminated.wait()
    watching.cancel()
    server.close()
    control.close()
    await listeners.close()
    table.close()


async def _watch(path: Path, terminated: asyncio.Event) -> None:
    """End when the socket is gone: without it nobody can reach this process, and its ports would
    stay taken.
    """
    while path.exists():
        await asyncio.sleep(_CHECK_S)
    terminated.set()


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_address(path) as address:
        listener.bind(address)
    path.chmod(0o600)
    listener.listen(16)
    listener.setblocking(False)
    return listener


if __name__ == "__main__":
    sys.exit(main())
