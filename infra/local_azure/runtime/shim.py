"""One detached process per replica (compare containerd-shim): it owns the replica's namespaces and
restarts its container.

`python -m infra.local_azure.runtime.shim DIR` reads DIR/spec.json, returns 0 once the shim listens
on DIR/shim.sock, or prints one line and returns 1 when the kernel refuses. It outlives the server;
`shim_client` is the other end of the socket. A job's replica (`once`) is not restarted: the shim
leaves its end in DIR/ended.json, for a server that may be down by then.
"""

import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import kernel, namespace
from .console import Console
from .container import Command, Started, StartError, remount, start
from .processes import catches_sigterm, kill_all
from .rootfs import Volume
from .shim_control import ShimControl
from .sidecar import Sidecar

_LAST_READS = 32
_CHECK_S = 10.0
_STABLE_S = (
    600.0  # a container that ran this long starts its back-off from the beginning, as with kubelet
)


def exit_code(status: int) -> int:
    """The exit code that Kubernetes shows for a wait status: 128 and the signal that ended it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


class Shim:
    """A selector loop over the control socket, the container's output and its exit."""

    def __init__(self, spec: dict[str, Any], directory: Path) -> None:
        self._command = Command.from_json(spec["command"])
        self._once: bool = spec.get("once", False)
        self._first = [
            Command.from_json(raw) for raw in spec.get("first", ())
        ]  # init containers still to be run
        self._grace_s: float = spec["grace_s"]
        self._backoff_s, self._backoff_cap_s = spec["backoff_s"]
        self._console = Console(directory / "console.log")
        self._selector = selectors.DefaultSelector()
        self._control = ShimControl(directory / "shim.sock", self._selector, self._handle)
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._beside = [
            Sidecar(raw["name"], Command.from_json(raw["command"]), tuple(spec["backoff_s"]), self)
            for raw in spec.get("beside", ())
        ]
        self._pid: int | None = None
        self._started_at = 0.0
        self._crashes = 0
        self._stopping = self._done = False
        self._state: dict[str, Any] = {
            "phase": "Waiting",
            "reason": "ContainerCreating",
            "pid": None,
            "restarts": 0,
            "notes": {},
        }
        self._state |= (
            {"beside": [sidecar.state for sidecar in self._beside]} if self._beside else {}
        )

    def run(self) -> None:
        wakeup, wakeup_end = os.pipe()
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._selector.register(
            wakeup, selectors.EVENT_READ, lambda: self._signalled(os.read(wakeup, 512))
        )
        self._start()
        self._check_wanted()
        while not self._done:
            due = min((when for when, _ in self._timers.values()), default=None)
            for key, _ in self._selector.select(
                None if due is None else max(0.0, due - time.monotonic())
            ):
                key.data()
            self._fire_timers()
        self._control.close()

    def _signalled(self, numbers: bytes) -> None:
        if signal.SIGCHLD in numbers:
            self._reap()
        if signal.SIGTERM in numbers:
            self._stop(self._grace_s)

    # -- the container
    def _start(self) -> None:
        try:
            started = start(self._first[0] if self._first else self._command)
        except StartError as refused:
            self._crashed(reason=refused.reason, message=str(refused), code=128)
            return
        self._pid, self._started_at = started.pid, time.monotonic()
        self.watch(started, self._console)
        if self._first and not self._once:
            self._publish(phase="Waiting", reason="PodInitializing", message="", pid=None, notes={})
            return
        self._publish(
            phase="Running",
            reason="",
            message="",
            pid=started.pid,
            started_at=time.time(),
            notes={},
        )
        for sidecar in self._beside:
            sidecar.begin()

    def watch(self, started: Started, console: Console) -> None:
        """Follows a container's output."""
        for stream, descriptor in (("stdout", started.stdout), ("stderr", started.stderr)):
            os.set_blocking(descriptor, False)
            self._selector.register(
                descriptor, selectors.EVENT_READ, self._reader(console, stream, descriptor)
            )

    def changed(self) -> None:
        self._publish(beside=[sidecar.state for sidecar in self._beside])

    def _reader(self, console: Console, stream: str, descriptor: int) -> Callable[[], None]:
        def read() -> None:
            try:
                data = os.read(descriptor, 65536)
            except BlockingIOError:
                return
            if data:
                console.feed(stream, data)
            else:
                self._selector.unregister(descriptor)
                os.close(descriptor)

        return read

    def _reap(self) -> None:
        """Collects ended children; the end of the first process is the end of the container, as
        with a PID namespace.
        """
        ended, beside = (
            None,
            {sidecar.pid: sidecar for sidecar in self._beside if sidecar.pid is not None},
        )
        gone = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self._pid:
                ended = status
            elif pid in beside:
                gone.append(beside[pid])
        # After the loop, because the end of a sidecar kills processes that this would collect.
        for sidecar in gone:
            sidecar.ended()
        if ended is None:
            return
        self._pid = None
        self._timers.pop("kill", None)
        kill_all(self._command.plan.label)
        # A container that ran for a while is not in a crash loop, so the next pause is short again.
        if time.monotonic() - self._started_at > _STABLE_S:
            self._crashes = 0
        # Init containers run one after the other, and the first failure repeats that one.
        if self._first and ended == 0 and not self._stopping:
            self._first.pop(0)
            self._start()
            return
        self._crashed(
            reason="Completed" if ended == 0 else "Error",
            message="",
            code=exit_code(ended),
        )

    def _crashed(self, *, reason: str, message: str, code: int) -> None:
        """Plans the next start: after 1, 2, 4, ... seconds up to the cap; or ends the shim when it
        was told to stop.
        """
        last = {"reason": reason, "code": code, "at": time.time()}
        if self._stopping or self._once:
            if self._once:
                _write("ended.json", {**last, "message": message})
            for sidecar in self._beside:
                sidecar.kill()
            self._publish(
                phase="Terminated", reason=reason, message=message, pid=None, last=last, notes={}
            )
            self._drain_output()
            self._done = True
            return
        delay = min(self._backoff_s * 2.0**self._crashes, self._backoff_cap_s)
        self._crashes += 1
        waiting = reason if reason in ("CreateContainerError", "StartError") else "CrashLoopBackOff"
        self._publish(
            phase="Waiting",
            reason=waiting,
            message=message,
            pid=None,
            last=last,
            next_start_at=time.time() + delay,
            notes={},
        )
        self.after("start", delay, self._restart)

    def _restart(self) -> None:
        self._state["restarts"] += 1
        self._start()

    def _drain_output(self) -> None:
        for _ in range(_LAST_READS):
            for key, _ in self._selector.select(0):
                key.data()
        for console in (self._console, *(sidecar.console for sidecar in self._beside)):
            console.flush()

    def _check_wanted(self) -> None:
        """A removed folder means that the scheduler gave this replica up while the shim was
        starting.
        """
        if Path().stat().st_nlink == 0 and not self._stopping:
            self._stop(0.0)
        self.after("check", _CHECK_S, self._check_wanted)

    # -- orders
    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["op"]:
            case "note":
                self._state["notes"].update(request["notes"])
            case "stop":
                return {"caught": self._stop(request["grace_s"])}
            case "kill":
                self._kill()
            case "remount":
                return {"error": self._remount([Volume(**volume) for volume in request["volumes"]])}
            case "restart":
                self._terminate(request["grace_s"])
        return self._state

    def _stop(self, grace_s: float) -> bool:
        """Ends the container for good. True when its first process handles SIGTERM and so may
        finish its requests itself.
        """
        self._stopping = self._state["stopping"] = True
        for sidecar in self._beside:
            sidecar.stop(grace_s)
        if self._pid is None:
            self._timers.pop("start", None)
            self._crashed(reason="Completed", message="", code=0)
            return True
        return self._terminate(grace_s)

    def _terminate(self, grace_s: float) -> bool:
        if self._pid is None:
            return True
        # Armed before the signal: a process that ends at once takes the timer away.
        self.after("kill", grace_s, self._kill)
        caught = catches_sigterm(self._pid)
        if caught:  # process 1 of a container never sees a signal that it does not handle
            os.kill(self._pid, signal.SIGTERM)
        return caught

    def _kill(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        kill_all(self._command.plan.label)
        for sidecar in self._beside if self._stopping else ():
            sidecar.kill()

    def _remount(self, volumes: list[Volume]) -> str:
        """Why it failed; empty after success, and when no container runs, because the next start
        mounts the volumes.
        """
        if self._pid is None:
            return ""
        report, report_end = os.pipe()
        # In a child, because entering another mount namespace cannot be undone.
        child = os.fork()
        if child == 0:
            try:
                remount(self._pid, volumes)
            except Exception as error:  # noqa: BLE001 - a forked child must never return into the shim's code
                os.write(report_end, str(error).encode())
            os._exit(0)
        os.close(report_end)
        with os.fdopen(report, "rb") as reader:
            refused = reader.read().decode()
        os.waitpid(child, 0)
        return refused

    def _publish(self, **changes: Any) -> None:
        self._state.update(changes)
        self._control.publish(self._state)

    def after(self, name: str, delay: float, action: Callable[[], None]) -> None:
        self._timers[name] = (time.monotonic() + delay, action)

    def _fire_timers(self) -> None:
        now = time.monotonic()
        for name, (when, action) in list(self._timers.items()):
            # An action may have set or removed timers of this very round.
            if when <= now and self._timers.get(name) == (when, action):
                del self._timers[name]
                action()


def _write(name: str, content: dict[str, Any]) -> None:
    """Write the file atomically, because a killed shim must not leave half an answer."""
    draft = Path(f"{name}.new")
    draft.write_text(json.dumps(content))
    draft.replace(name)


def main(directory: Path) -> int:
    """Forks the shim into the background and waits until it listens."""
    report, report_end = os.pipe()
    if os.fork() == 0:
        os.close(report)
        _run_detached(directory, report_end)
        os._exit(0)
    os.close(report_end)
    with os.fdopen(report) as reader:
        answer = reader.read()
    if answer != "ready":
        print(answer or f"the shim ended at once, see {directory / 'shim.log'}")
        return 1
    return 0


def _run_detached(directory: Path, report: int) -> None:
    os.setsid()
    os.umask(0o077)
    os.chdir(
        directory
    )  # so that the socket's name fits into 108 bytes wherever the state directory is
    log = os.open("shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    try:
        spec = json.loads(Path("spec.json").read_text())
        namespace.enter(spec["command"]["plan"]["hostname"], network=not spec.get("once"))
        kernel.adopt_orphans()
        shim = Shim(spec, Path())
        os.write(report, b"ready")
    except Exception as error:
        os.write(report, str(error).encode())
        raise
    finally:
        os.close(report)
    shim.run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
