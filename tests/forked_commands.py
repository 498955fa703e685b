"""`moorage` commands without their start: each is a process of its own, a fork of one that has
imported everything, because most of a short command's time goes into its imports. A test of the
start itself runs the command otherwise.

`COMMANDS` is the side of the tests; as a program, this module is the process that forks.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MOST = 128 * 1024  # bytes of one order; the environment is the long part
AZURE = (  # the clients, which are imported at the first write
    "azure.identity.aio",
    "azure.mgmt.appcontainers.aio",
    "azure.mgmt.storage.aio",
    "azure.storage.fileshare.aio",
)
# Gradio, behind the chat page, starts a thread when it is imported.
OTHERS = ("reconciler.chat", "reconciler.__main__")


class Command:
    """A command that runs: what `subprocess.Popen` says of one. It ends with this process."""

    def __init__(self, arguments: Sequence[str], answer: socket.socket) -> None:
        self.arguments = list(arguments)
        self.returncode: int | None = None
        self._answer = answer
        self.pid = int(self._next(240.0))

    def _next(self, timeout: float) -> str:
        self._answer.settimeout(timeout)
        try:
            said = self._answer.recv(16)
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired(self.arguments, timeout) from None
        assert said, f"{self.arguments}: the process that forks commands has ended"
        return said.decode()

    def wait(self, timeout: float) -> int:
        """The exit code; of what a signal ended, its number below zero."""
        if self.returncode is None:
            self.returncode = int(self._next(timeout))
            self._answer.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Commands:
    """Starts commands. The process that forks starts with the first one and ends with this one,
    by the end of the socket between them.
    """

    def __init__(self) -> None:
        self._orders: socket.socket | None = None

    def start(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: int, err: int
    ) -> Command:
        """`out` and `err` are the descriptors of its output; it has no input."""
        orders = self._orders or self._start(env)
        order = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)})
        answer, theirs = _pair()
        with theirs, Path(os.devnull).open("rb") as nothing:
            fds = [nothing.fileno(), out, err, theirs.fileno()]
            socket.send_fds(orders, [order.encode()], fds)
        return Command(arguments, answer)

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with captured output."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            command = self.start(arguments, cwd=cwd, env=env, out=out.fileno(), err=err.fileno())
            try:
                code = command.wait(timeout)
            except subprocess.TimeoutExpired:
                command.kill()
                raise
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess(command.arguments, code, out.read(), err.read())

    def _start(self, env: Mapping[str, str]) -> socket.socket:
        self._orders, theirs = _pair()
        call = [sys.executable, "-m", "tests.forked_commands", str(theirs.fileno())]
        with theirs:
            subprocess.Popen(call, cwd=ROOT, env=dict(env), pass_fds=[theirs.fileno()])
        return self._orders


COMMANDS = Commands()


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def serve(orders: socket.socket) -> None:
    """Fork for each order. Returns in the command's process, which then is one like any other."""
    _import_everything()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end this
    while True:
        message, fds, *_ = socket.recv_fds(orders, MOST, 4)
        if not message:
            sys.exit()
        if os.fork() == 0:
            orders.close()
            return _command(json.loads(message), fds)
        for descriptor in fds:
            os.close(descriptor)
        while _reaped():
            pass


def _import_everything() -> None:
    import reconciler

    for name in AZURE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(reconciler.__path__, "reconciler."):
        if not module.name.startswith(OTHERS):
            importlib.import_module(module.name)
    # A fork has the thread that forked and no other, but all the locks that the others held.
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"importing all of Moorage started {len(threads) - 1} threads"
    gc.freeze()


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _command(order: Mapping[str, Any], fds: Sequence[int]) -> None:
    """Fork once more: one process becomes the command and the other tells how it ended."""
    *streams, answer = fds
    pid = os.fork()
    if pid:
        _tell(pid, socket.socket(fileno=answer))
        os._exit(0)
    os.close(answer)
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["-c", *order["arguments"]]


def _tell(pid: int, answer: socket.socket) -> None:
    """The command's pid, and its exit code in the end. When the other side is gone, so is the
    command.
    """
    answer.send(str(pid).encode())
    ended = os.pidfd_open(pid)
    readable, _, _ = select.select([ended, answer], [], [])
    if ended not in readable:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        answer.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    from reconciler.cli import main

    main()
