"""`python -m tests.e2e.killed`: runs the `moorage` command in a process of its own for each line of
its input, forked from one that has imported everything already; and that process may be killed at
one of its calls.

A line is a JSON object: `arguments` of the command, `environ`, and `log`, the file that takes what
it prints. With `moment` and `number` the process kills itself as `kill -9` does, at its `number`-th
call (from 0) that changes something in Azure. The answer to each line is the exit code.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import aiohttp
from yarl import URL

from tests.e2e.ground import ROOT, is_write
from tests.e2e.inside import FAST

# Before the call is sent, after it took effect and before its answer is read, after its answer.
MOMENTS = ("before", "unanswered", "answered")
AFTER_S = 0.002  # enough for the answer to reach its caller, too short for much else
LIMIT_S = 600  # of one process, where a machine has much else to do


def plane_of(url: URL) -> str:
    """Which of the journal's planes a request goes to."""
    if "/oauth2/" in url.path:
        return "login"
    return "arm" if url.path.lower().startswith("/subscriptions") else "files"


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, number: int) -> None:
    """Replace the one function through which every request of the Azure SDKs goes."""
    request, calls = aiohttp.ClientSession._request, iter(range(sys.maxsize))

    async def killed(self: Any, method: str, url: Any, **options: Any) -> Any:
        where = URL(url)
        entry = {
            "plane": plane_of(where),
            "method": method.upper(),
            "path": where.path,
            "query": where.query_string,
        }
        mine = is_write(entry) and next(calls) == number
        if mine and moment == "before":
            kill()
        answer = await request(self, method, url, **options)
        if mine and moment == "unanswered":
            kill()
        if mine:
            asyncio.get_running_loop().call_later(AFTER_S, kill)
        return answer

    aiohttp.ClientSession._request = killed  # type: ignore[method-assign]


def preload() -> None:
    """Import what every process needs, and shorten the daemon's pauses."""

    from reconciler import daemon

    daemon.Pacing = lambda resync: replace(FAST, resync=resync)  # type: ignore[assignment, misc]


def run(line: dict[str, Any]) -> None:
    """In the child: become the command. Never returns."""
    signal.alarm(LIMIT_S)
    os.environ.clear()
    os.environ.update(line["environ"])
    log = os.open(line["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    if "moment" in line:
        arm(line["moment"], line["number"])
    from reconciler.cli.app import run as command

    code = 1
    try:
        code = command(line["arguments"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    preload()
    for text in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(text))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


class Processes:
    """The client's side: one such program, used as a context manager."""

    def __enter__(self) -> Self:
        line = [sys.executable, "-m", "tests.e2e.killed"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        self._program = subprocess.Popen(
            line, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._program.communicate(timeout=LIMIT_S)

    def run(self, arguments: Sequence[str], environ: dict[str, str], log: Path, **kill: Any) -> int:
        """Run the command to its end, or to the call at which it is killed: its exit code."""
        line = {"arguments": arguments, "environ": environ, "log": str(log), **kill}
        assert self._program.stdin
        assert self._program.stdout
        self._program.stdin.write(json.dumps(line) + "\n")
        self._program.stdin.flush()
        return int(self._program.stdout.readline())


if __name__ == "__main__":
    serve()
