"""A stage for end-to-end tests of the control plane: a folder with documents and code, a local
Azure of its own, and the `moorage` command as a user runs it. Services run a small web API of the
user's own, which boots in a second.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from infra.local_azure.faults import commands
from tests.e2e.ground import ROOT, Ground, aimed_at
from tests.forked_commands import COMMANDS, Command
from tests.patience import LEAST, patient
from tests.ports import free_port

READ_WITHIN = 5.0  # seconds after which the daemon has read a save
MOORAGE = [sys.executable, "-c", "from reconciler.cli import main; main()"]

# Answers with what it is; /stream takes half a second for its answer, as a model does.
APP = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "{version}"

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        facts = {{"version": VERSION, "colour": os.environ.get("COLOUR"), "pid": os.getpid(), "arguments": sys.argv[1:],
                 "revision": os.environ.get("CONTAINER_APP_REVISION"), "replica": os.environ.get("CONTAINER_APP_REPLICA_NAME")}}
        body = json.dumps(facts).encode()
        self.send_response(200)
        if self.path != "/stream":
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in [body, *[b" "] * 9]:
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"0\\r\\n\\r\\n")

    def log_message(self, *arguments):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 64

Server(("", int(sys.argv[1])), Handler).serve_forever()
"""


def service(name: str, **spec: Any) -> dict[str, Any]:
    """An InferenceService that runs the folder `code-<name>`, with one replica, which does not make
    tests wait for its end.
    """
    port = spec.get("targetPort", 9000)
    plain = {
        "code": f"./code-{name}",
        "command": ["python3", "app.py", str(port)],
        "targetPort": port,
        "scale": {"minReplicas": 1, "maxReplicas": 1},
        "terminationGracePeriodSeconds": 2,
    }
    return {
        "apiVersion": "moorage.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {**plain, **spec},
    }


def environment(name: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "moorage.dev/v1alpha1",
        "kind": "Environment",
        "metadata": {"name": name},
        "spec": spec,
    }


class Stage(Ground):
    """Everything below `root`; `azure_options` are given to the local Azure's first start. In
    a `with` statement it is started, and ended with all its processes.
    """

    def __init__(self, root: Path, *azure_options: str) -> None:
        super().__init__(root / "state", *azure_options)
        self.root = root
        self.manifest = root / "moorage.yaml"
        hidden = ("MOORAGE_", "AZURE_")
        self.env = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        }
        self.env |= {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        self.started: list[Command] = []
        self.specs: dict[tuple[str, str], Any] = {}  # as they were saved last
        self.saved = 0.0

    def aim_at(self, facts: Mapping[str, str], **settings: str) -> None:
        """Let commands drive the local Azure of another stage, which printed `facts`. Its CA file is
        copied, as a user would, so that the two share nothing else.
        """
        ca = self.root / "ca.pem"
        ca.write_bytes(Path(facts["caFile"]).read_bytes())
        self.env |= {**aimed_at(facts), "MOORAGE_CA_FILE": str(ca), **settings}

    def __enter__(self) -> Self:
        try:
            self.start_azure()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def script(self, *faults: Mapping[str, Any], seed: int = 0) -> None:
        """Make these the whole script of the local Azure; none end every fault."""
        file = self.root / "faults.json"
        file.write_text(json.dumps({"seed": seed, "faults": list(faults)}))
        assert commands.load(self.azure_dir / "faults.db", file) == 0

    def code(self, name: str, version: str = "one") -> None:
        """Write the service's code, atomically, as a careful editor does."""
        folder = self.root / f"code-{name}"
        folder.mkdir(exist_ok=True)
        partial = self.root / f".{name}.py"
        partial.write_text(APP.format(version=version))
        partial.replace(folder / "app.py")

    def save(
        self, *documents: dict[str, Any], path: Path | None = None, in_place: bool = False
    ) -> None:
        """Save the documents; by a rename over the file unless `in_place`."""
        for each in documents:
            self.specs[each["kind"], each["metadata"]["name"]] = each.get("spec")
        self.saved = time.monotonic()
        # JSON is YAML.
        self.save_text(
            "\n---\n".join(json.dumps(document, indent=2) for document in documents),
            path=path,
            in_place=in_place,
        )

    def save_text(self, text: str, *, path: Path | None = None, in_place: bool = False) -> None:
        path = path or self.manifest
        if in_place:
            path.write_text(text)
            return
        partial = path.with_name(f".{path.name}.swp")
        partial.write_text(text)
        partial.replace(path)

    def moorage(
        self, *arguments: str, code: int | None = 0, timeout: float = 120, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; it must end with `code`, unless that is None."""
        env = {**self.env, "MOORAGE_STATE_DIR": str(self.state), **env}
        done = COMMANDS.run(arguments, cwd=self.root, env=env, timeout=timeout)
        assert code in (
            None,
            done.returncode,
        ), f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def once(
        self, *arguments: str, code: int | None = 0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return self.moorage("up", "-f", str(self.manifest), "--once", *arguments, code=code, **env)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.moorage(*arguments, "-o", "json").stdout)

    def up(self, *arguments: str, resync: float = 60, **env: str) -> "Up":
        """Start `moorage up` and leave it running."""
        up = Up(self, arguments, resync, env)
        self.started.append(up.process)
        return up

    @contextmanager
    def watching(self, *arguments: str, resync: float = 60, **env: str) -> Iterator["Up"]:
        """`moorage up` for the length of a block."""
        up = self.up(*arguments, resync=resync, **env)
        try:
            yield up
        finally:
            up.end()

    def close(self) -> None:
        """End every process, whatever state it is in."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait(LEAST)
        if self.azure_dir.exists():
            self.azure("stop")
        shutil.rmtree(self.azure_dir / "files", ignore_errors=True)


class Up:
    """A running `moorage up`; `status` comes from its status API, `output` is what it printed."""

    def __init__(
        self, stage: Stage, arguments: tuple[str, ...], resync: float, env: dict[str, str]
    ) -> None:
        self.stage = stage
        self.port = free_port()
        self.log = stage.root / f"up-{self.port}.log"
        self._seen: dict[tuple[str, str], tuple[Any, int]] = {}  # specs and their generations
        call = [
            "up",
            *(() if "--git" in arguments else ("-f", str(stage.manifest))),
            "--resync",
            str(resync),
            "--listen",
            f"127.0.0.1:{self.port}",
            *arguments,
        ]
        environ = {**stage.env, "MOORAGE_STATE_DIR": str(stage.state), **env}
        with self.log.open("wb") as log:
            out = log.fileno()
            self.process = COMMANDS.start(call, cwd=stage.root, env=environ, out=out, err=out)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/status", timeout=LEAST
        ) as answer:
            status: dict[str, Any] = json.load(answer)
        return status

    def document(self, name: str, kind: str = "InferenceService") -> dict[str, Any] | None:
        documents = self.status()["documents"]
        return next((d for d in documents if (d["kind"], d["name"]) == (kind, name)), None)

    def condition(self, name: str, type_: str, kind: str = "InferenceService") -> dict[str, Any]:
        """The condition, or an empty one that says nothing."""
        return condition_of(self.document(name, kind), type_)

    async def until(self, check: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
        """Wait for `check` to give something true; what the daemon said goes into the failure."""
        seconds = patient(seconds)
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = check()
            except OSError:
                found = None  # not serving yet
            if found:
                return found
            if self.process.poll() is not None:
                raise AssertionError(
                    f"moorage up ended with {self.process.returncode}:\n{self.output}"
                )
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"not within {seconds} s:"
                    f" {what}\n{self.output}\n{json.dumps(self.status(), indent=1)}"
                )
            await asyncio.sleep(0.1)

    async def converged(self, *names: str, seconds: float = 60.0) -> None:
        """Wait until these services (default: every document) are ready and in sync at the
        generation last saved.
        """
        await self.until(lambda: self._converged(names), seconds, f"{names} ready and in sync")

    def _converged(self, names: tuple[str, ...]) -> bool:
        done = [(each["name"], self._is_done(each)) for each in self.status()["documents"]]
        there = {name for name, _ in done}
        asked = [is_done for name, is_done in done if not names or name in names]
        return bool(done) and set(names) <= there and all(asked)

    def _is_done(self, document: dict[str, Any]) -> bool:
        """Whether it is ready and in sync, and the daemon has read the last save of it. Other words
        for the same spec raise no generation, so after a while no more is waited for.
        """
        if not is_converged(document):
            return False
        key = document["kind"], document["name"]
        now = (self.stage.specs.get(key), document["generation"])
        spec, generation = self._seen.get(key, now)
        late = time.monotonic() - self.stage.saved > READ_WITHIN
        if spec != now[0] and generation == now[1] and not late:
            return False
        self._seen[key] = now
        return True

    async def settled_on(self, name: str, seconds: float = 60.0, **wanted: Any) -> None:
        """Wait until the service answers with these values, nothing else of it runs, and it is
        ready and in sync.
        """

        def check() -> bool:
            document = self.document(name)
            if document is None or not self._is_done(document) or len(document["revisions"]) != 1:
                return False
            return wanted.items() <= ask(document["endpoint"], self.stage.ca).items()

        await self.until(check, seconds, f"{name} with {wanted}")

    def end(self, with_signal: int = signal.SIGINT, seconds: float = LEAST) -> int:
        """Stop it as Ctrl-C does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(LEAST)
            raise AssertionError(
                f"moorage up did not end within {seconds} s:\n{self.output}"
            ) from None

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.wait(LEAST)


def is_converged(document: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in document["conditions"]}
    current = document["generation"] == document["observedGeneration"]
    return current and (
        conditions.get("Ready"),
        conditions.get("Synced"),
        conditions.get("Stalled"),
    ) == ("True", "True", "False")


def condition_of(document: dict[str, Any] | None, type_: str) -> dict[str, Any]:
    silent = {"type": type_, "status": "", "reason": "", "message": ""}
    return next((c for c in (document or {}).get("conditions", ()) if c["type"] == type_), silent)


def ask(endpoint: str, ca: str, path: str = "/") -> dict[str, Any]:
    """One request through the ingress."""
    import ssl

    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca)),
    )
    with opener.open(endpoint + path, timeout=LEAST) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
