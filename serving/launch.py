"""PID 1 of a replica: starts vLLM, reports on it, drains it when the platform asks, and notices its
death.

`python3 -m serving.launch <vLLM args…>`. vLLM ending by itself, even with 0, is a crash: launch
exits with 1 and the platform restarts the container, because a fresh container has clean memory and
devices, and one restart owner (the platform, with its back-off and its restart count that the
daemon reads) is better than two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.catalogue import STAGE_WORDS, ReplicaReport
from serving.control import FD_VARIABLE, Control
from serving.preflight import takes_lora
from serving.processes import adopt_orphans, kill_descendants, reap
from serving.report import Reporter
from serving.server import UNSUPPORTED
from serving.start.arguments import (
    ArgumentError,
    has_gpu,
    option,
    server_arguments,
    server_environment,
    slow_half_floats,
    trace_arguments,
)
from serving.start.preparation import Preparation

GRACE = 30.0  # ACA's terminationGracePeriodSeconds unless the template says otherwise
SILENCE = 30.0  # seconds without a word from a server that spoke before
SERVER = (sys.executable, "-m", "serving.server")
_STOP = 4.0  # how long vLLM may take to exit once no request runs
_DEATH = 1.5  # how long a server with a dead engine may take to answer its requests with an error
log = logging.getLogger("moorage.launch")


class Launch:
    """One run of vLLM, from start to end; `server` is the command that the arguments are
    given to.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        server: Sequence[str] = SERVER,
    ) -> None:
        self._server, arguments = server, without_lora(arguments)
        grace = float(environment.get("MOORAGE_GRACE_SECONDS") or GRACE)
        # What is left of Azure's grace period once vLLM gets its own time to stop.
        self._drain_time = max(1.0, grace - _STOP - 2.0)
        gpu = has_gpu()
        self._arguments = [
            *server_arguments(
                arguments,
                self._drain_time,
                full_floats=not gpu and slow_half_floats(_processor()),
                gpu=gpu,
            ),
            *trace_arguments(environment, arguments),
        ]
        self._environment = server_environment(environment, arguments, gpu=gpu)
        reports = environment.get("MOORAGE_REPORTS")
        self._reporter = Reporter(Path(reports) if reports else None)
        self._state: dict[str, Any] = {}
        self._heard = 0.0
        self._replica = environment.get("CONTAINER_APP_REPLICA_NAME") or socket.gethostname()
        self._preparation = Preparation(arguments, environment, self._replica)
        self._revision = environment.get("CONTAINER_APP_REVISION", "")
        self._started = datetime.now(UTC)
        self._ready_at: datetime | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._control: Control | None = None
        self._stop, self._idle, self._dead = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self) -> int:
        """The exit code for the platform: 0 after a stop that was asked for, 1 after a crash."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        stop, dead = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._dead.wait())
        beat = asyncio.create_task(self._beat())
        self._report("")
        prepared = asyncio.create_task(self._preparation.begin())
        await asyncio.wait({prepared, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not prepared.done():
            beat.cancel()
            self._report("Stopped", ended=True)
            self._reporter.close()
            return 0
        self._environment |= prepared.result()
        await self._start()
        assert self._child is not None
        ended = asyncio.create_task(self._child.wait())
        await asyncio.wait({ended, stop, dead}, return_when=asyncio.FIRST_COMPLETED)
        if stop.done() and not ended.done():
            await self._drain(ended)
            code, message = 0, "Stopped"
        else:
            # vLLM often ends soon after its engine and prints the cause meanwhile.
            if not ended.done():
                await asyncio.wait({ended}, timeout=_DEATH)
            code, message = 1, self._epitaph()
            log.error("%s", message)
        # Workers that outlive vLLM would hold the port and the GPU's memory against the next start.
        beat.cancel()
        self._preparation.close()
        await asyncio.to_thread(kill_descendants, os.getpid())
        reap(self._child.pid)
        self._report(message, ended=True)
        self._reporter.close()
        return code

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._environment[FD_VARIABLE] = str(theirs.fileno())
        command = [*self._server, *self._arguments]
        self._child = await asyncio.create_subprocess_exec(
            *command, env=self._environment, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._control = Control(ours, self._hear)
        await self._control.start()
        self._report()

    async def _drain(self, ended: asyncio.Task[int]) -> None:
        """New requests are refused from now on; running ones get the grace; then vLLM is stopped,
        at last by force.
        """
        assert self._child is not None
        assert self._control is not None
        # Before vLLM has reported for the first time, nothing runs that a drain could wait for.
        if self._state:
            self._control.send({"type": "drain"})
            self._report("Draining")
            idle = asyncio.create_task(self._idle.wait())
            await asyncio.wait(
                {idle, ended}, timeout=self._drain_time, return_when=asyncio.FIRST_COMPLETED
            )
            idle.cancel()
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()
        await asyncio.wait({ended}, timeout=_STOP)

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message is None or message.get("type") != "state":
            return
        self._state, self._heard = message, time.monotonic()
        if message["ready"]:
            self._preparation.ready()
        elif stage := message.get("stage"):
            self._preparation.stages.reach(stage)
        if not message["engineAlive"]:
            self._dead.set()
        if self._stop.is_set() and message.get("draining") and message["running"] == 0:
            self._idle.set()
        self._report()

    async def _beat(self) -> None:
        """Keep the report's heartbeat going while the model loads; report a server that falls
        silent.
        """
        while True:
            await asyncio.sleep(2.0)
            if self._child is not None:
                reap(self._child.pid)
            quiet = time.monotonic() - self._heard
            self._report(
                f"vLLM has not answered for {quiet:.0f} s"
                if self._state and quiet > SILENCE
                else ""
            )

    def _report(self, message: str = "", *, ended: bool = False) -> None:
        state, silent = self._state, bool(self._state) and time.monotonic() - self._heard > SILENCE
        # A silent vLLM may hang, and its last message must not stand as ready.
        gone = ended or silent or self._stop.is_set()
        if state.get("ready") and self._ready_at is None:
            self._ready_at = datetime.now(UTC)
        stages = self._preparation.stages
        stages.look()
        self._reporter.update(
            ReplicaReport(
                replica=self._replica,
                revision=self._revision,
                pid=self._child.pid if self._child else 0,
                started_at=self._started,
                heartbeat=datetime.now(UTC),
                generation=state.get("generation"),
                epoch=state.get("epoch"),
                model_loaded=bool(state.get("modelLoaded")) and not ended,
                ready=bool(state.get("ready")) and not gone,
                ready_at=self._ready_at,
                stage=None if gone else stages.stage,
                stages=stages.seconds,
                adapters=state.get("adapters", ()),
                traffic=state.get("traffic"),
                api_keys=state.get("apiKeys", ()),
                message=message or state.get("message", "") or ("" if state else self._starting()),
            )
        )

    def _starting(self) -> str:
        stage = self._preparation.stages.stage
        if stage is None or stage == "runtime":
            return "vLLM is starting"
        return f"vLLM is starting: {STAGE_WORDS[stage]}"

    def _epitaph(self) -> str:
        code = self._child.returncode if self._child else None
        if code == UNSUPPORTED:
            return "this image's vLLM version is not supported by the Moorage runtime"
        if self._dead.is_set():
            return "vLLM's engine died"
        how = (
            "was killed by signal" if code is not None and code < 0 else "ended by itself with code"
        )
        when = "" if self._state else " before it was ready"
        return f"vLLM {how} {abs(code or 0)}{when}"


def without_lora(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments, without LoRA for a model that takes none: vLLM would not start, and one
    adapter would keep the model from answering.
    """
    if takes_lora(Path(option(arguments, "--model") or "")):
        return arguments
    return [each for each in arguments if each != "--enable-lora"]


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def main() -> int:
    logging.basicConfig(
        level=logging.INFO,
        format="%(levelname)s %(asctime)s [moorage] %(message)s",
        stream=sys.stderr,
    )
    adopt_orphans()

    async def run() -> int:
        return await Launch(sys.argv[1:], os.environ).run()

    try:
        return asyncio.run(run())
    except ArgumentError as error:
        log.error("%s", error)  # noqa: TRY400 a sentence for a person, not a traceback
        return 1


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread stuck in a hanging share must not keep the container alive
