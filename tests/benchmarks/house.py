"""A Moorage of its own in a temporary folder: a local Azure, `moorage up` as a process beside it,
and what they say.

Everything is seen from outside, as a user would: the command line, `status -o json`, the local
Azure's journal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import process

ROOT = Path(__file__).parents[2]
MOORAGE = [sys.executable, "-c", "from reconciler.cli import main; main()"]
READS = {"GET", "HEAD"}
_HEALTH = "local-azure-health"  # whether the local Azure runs: nobody asks Azure that
_ACTIONS = ("/listkeys", "/listsecrets", "/sharedkeys", "/listaccountsas")


@dataclass(frozen=True)
class Call:
    """One request of the daemon: when it arrived (seconds since the epoch), at which plane, and
    what it asked.
    """

    at: float
    plane: str
    method: str
    path: str
    query: str
    status: int

    @classmethod
    def read(cls, line: str) -> Call | None:
        """The call that a line of the journal tells of; None where it is at another plane."""
        entry = json.loads(line)
        if entry["plane"] not in ("arm", "files") or entry["client"] == _HEALTH:
            return None
        # noted when it is answered
        at = datetime.fromisoformat(entry["time"]).timestamp() - entry["ms"] / 1000
        where = (entry["method"], entry["path"], entry["query"], entry["status"])
        return cls(at, entry["plane"], *where)

    @property
    def write(self) -> bool:
        return (
            self.method not in READS
            and not self.path.lower().endswith(_ACTIONS)
            and "comp=lease" not in self.query
        )


class House:
    """`folder` holds the documents and the state; use `house()` to make one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents = folder / "documents"
        self.state = folder / "state"
        self.documents.mkdir()
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("MOORAGE_")
        }
        # An installed program has its bytecode: compiling it in every process would be measured.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment["MOORAGE_STATE_DIR"] = str(self.state)

    # the local Azure

    def start_azure(self, *options: str) -> None:
        """Start it before the daemon does: to give it options, or because its own start is not to
        be measured.
        """
        line = [*self._azure("start"), *options]
        subprocess.run(line, check=True, capture_output=True, env=self.environment)

    def stop_azure(self) -> None:
        subprocess.run(self._azure("stop"), check=False, capture_output=True, env=self.environment)

    def calls(self, since: float = 0.0) -> list[Call]:
        """What the journal holds of the daemon's requests that arrived after `since`,
        oldest first.
        """
        journal = self.state / "local-azure" / "journal.jsonl"
        lines = journal.read_text().splitlines() if journal.exists() else ()
        return [call for line in lines if (call := Call.read(line)) and call.at >= since]

    # moorage

    def command(self, *arguments: str) -> list[str]:
        return [*MOORAGE, *arguments]

    def run(self, *arguments: str) -> process.Cost:
        """Run one command to its end."""
        return process.run(self.command(*arguments), self.environment)

    def status(self) -> dict[str, Any]:
        done = subprocess.run(
            self.command("status", "-o", "json"),
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout))

    @contextmanager
    def up(
        self, *options: str, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """`moorage up` on the documents, with more `environment`; ended with Ctrl-C's signal."""
        with (self.folder / "up.log").open("ab") as log:
            line = self.command("up", "-y", "-f", str(self.documents), *options)
            variables = {**self.environment, **(environment or {})}
            daemon = subprocess.Popen(line, env=variables, stdout=log, stderr=log)
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGINT)
                try:
                    daemon.wait(30)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def until_ready(self, daemon: subprocess.Popen[bytes], services: int, seconds: float) -> None:
        """Wait until every service is Ready at the generation of its document."""

        def ready() -> bool:
            found = [
                each for each in self.status()["documents"] if each["kind"] == "InferenceService"
            ]
            return len(found) == services and all(_is_ready(each) for each in found)

        self.until(ready, daemon, seconds, every=1.0)

    def until(
        self,
        condition: Callable[[], Any],
        daemon: subprocess.Popen[bytes],
        seconds: float,
        *,
        every: float = 0.05,
    ) -> Any:
        """Poll `condition` until it gives something true; SystemExit with the daemon's last words
        when it does not.
        """
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if daemon.poll() is not None or time.monotonic() > deadline:
                words = (self.folder / "up.log").read_text()[-3000:]
                raise RuntimeError(f"not within {seconds:.0f} s; moorage up said: {words}")
            time.sleep(every)
        return found

    def _azure(self, command: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "infra.local_azure",
            command,
            "--state-dir",
            str(self.state / "local-azure"),
        ]


@contextmanager
def house() -> Iterator[House]:
    """A fresh house; everything in it is stopped and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder:
        one = House(Path(folder))
        try:
            yield one
        finally:
            one.stop_azure()


def code_service(
    folder: Path,
    name: str,
    *,
    replicas: int = 0,
    cooldown: int = 60,
    env: Sequence[tuple[str, str]] = (),
) -> str:
    """A document of a small web API whose code is made below `folder`."""
    code = folder / "code" / name
    code.mkdir(parents=True, exist_ok=True)
    if not (code / "app.py").exists():
        (code / "app.py").write_text(f"# {name}\n{_APP}")
    lines = [
        "apiVersion: moorage.dev/v1alpha1",
        "kind: InferenceService",
        f"metadata: {{name: {name}}}",
        "spec:",
        f"  code: ./code/{name}",
        "  command: [python3, app.py]",
        "  targetPort: 8080",
        f"  scale: {{minReplicas: {replicas}, maxReplicas: 1, cooldownPeriod: {cooldown}}}",
    ]
    lines += (
        ["  env:", *(f"    - {{name: {key}, value: '{value}'}}" for key, value in env)]
        if env
        else []
    )
    return "\n".join(lines) + "\n"


def save(path: Path, text: str) -> float:
    """Write as an editor does, to another name and renamed; the moment it was there, in seconds
    since the epoch.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text)
    scratch.replace(path)
    return time.time()


def _is_ready(document: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in document["conditions"]}
    return (
        conditions.get("Ready") == "True"
        and document["observedGeneration"] == document["generation"]
    )


_APP = """\
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


HTTPServer(("", 8080), Handler).serve_forever()
"""
