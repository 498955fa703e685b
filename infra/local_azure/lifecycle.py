"""Starts, stops and describes the server process from outside. The lock says which process runs,
the store has its settings.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import certificates
from .faults.events import HEALTH
from .login import Identity
from .options import Options
from .store import Store

TELL_S = 5.0
REPOSITORY = Path(__file__).resolve().parents[2]


class NotStarted(Exception):
    """The server did not come up; the sentence says where to look."""


@contextlib.contextmanager
def hold(options: Options) -> Iterator[None]:
    """Hold the lock of this state folder; BlockingIOError when another server does."""
    options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    options.state_dir.chmod(0o700)
    descriptor = os.open(options.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def running(options: Options) -> int | None:
    """The pid of the server that holds the lock."""
    try:
        descriptor = os.open(options.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 20, 0).decode()
        return int(text) if text else None
    finally:
        os.close(descriptor)
    return None


def facts(options: Options) -> dict[str, str]:
    """What a client needs to talk to this Azure."""
    store = Store(options.database)
    try:
        identity, port = Identity.of(store), store.read("port")
    finally:
        store.close()
    endpoint = f"https://127.0.0.1:{port}"
    return {
        "armEndpoint": endpoint,
        "authority": endpoint,
        "caFile": str(certificates.ensure(options.state_dir / "tls").ca.absolute()),
        "tenantId": identity.tenant,
        "clientId": identity.client,
        "clientSecret": identity.secret,
        "subscriptionId": identity.subscription,
    }


def healthy(options: Options) -> bool:
    """Does the server answer? Its cloud metadata needs no token."""
    if not options.database.exists() or running(options) is None:
        return False
    store = Store(options.database)
    port = store.read("port")
    store.close()
    if port is None:
        return False
    context = ssl.create_default_context(cafile=str(options.state_dir / "tls" / "ca.pem"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    request = urllib.request.Request(
        f"https://127.0.0.1:{port}/metadata/endpoints?api-version=2022-09-01",
        headers={"User-Agent": HEALTH},
    )
    try:
        with opener.open(request, timeout=2) as answer:
            return bool(json.load(answer))
    except (OSError, ValueError):
        return False


def start(options: Options, arguments: list[str], wait_s: float = 30.0) -> dict[str, str]:
    """Start a detached server unless a healthy one runs; returns the facts of it."""
    deadline = time.monotonic() + wait_s
    child: subprocess.Popen[bytes] | None = None
    while not healthy(options):
        if child is None and running(options) is None:
            child = _spawn(options, arguments)
        if child is not None and child.poll() is not None:
            if running(options) is None:
                raise NotStarted(
                    f"the server ended with code {child.returncode}: {_last_line(options.log)}"
                    f" (more in {options.log})"
                )
            child = None  # another process has started it first
        if time.monotonic() > deadline:
            raise NotStarted(f"the server did not answer within {wait_s:.0f} s; see {options.log}")
        time.sleep(0.05)
    return facts(options)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def stop(
    options: Options, wait_s: float = 60.0, tell: Callable[[int], None] = lambda _: None
) -> bool:
    """End the server, its replicas and its ingress, and what a killed server left behind. False if
    nothing ran.

    A thousand replicas take minutes to end, so `wait_s` starts again whenever fewer are left;
    `tell` is called with their number every few seconds.
    """
    pid = running(options)
    if pid is None:
        return _stop_orphans(options)
    os.kill(pid, signal.SIGTERM)
    left, deadline, told = _left(options), time.monotonic() + wait_s, time.monotonic()
    while running(options) is not None:
        now, found = time.monotonic(), _left(options)
        if found < left:
            left, deadline = found, now + wait_s
        if now > deadline:
            raise NotStarted(
                f"the server (pid {pid}) and {left} replicas did not end, none of them in the last"
                f" {wait_s:.0f} s"
            )
        if now - told >= TELL_S:
            told = now
            tell(left)
        time.sleep(0.05)
    return True


def _left(options: Options) -> int:
    """How many replicas have not ended; each has a folder until then."""
    return sum(
        1 for kind in ("replicas", "executions") for _ in (options.state_dir / kind).glob("*")
    )


def status(options: Options) -> dict[str, Any]:
    """Is it running, and where; no secret."""
    pid = running(options)
    if not options.database.exists():
        return {"running": False, "pid": None}
    known = facts(options)
    known.pop("clientSecret")
    return {
        "running": pid is not None,
        "pid": pid,
        "healthy": pid is not None and healthy(options),
        **known,
    }


def keep_code(options: Options) -> None:
    """Keep which code this server runs; called once, by the server."""
    store = Store(options.database)
    store.keep("code", _code())
    store.close()


def runs_other_code(options: Options) -> bool:
    """Whether a server runs that was started by another version of this code."""
    if running(options) is None or not options.database.exists():
        return False
    store = Store(options.database)
    try:
        return store.read("code") != _code()
    finally:
        store.close()


def _code() -> str:
    """A digest of the code of this package."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _spawn(options: Options, arguments: list[str]) -> subprocess.Popen[bytes]:
    options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))
        ),
    }
    command = [
        sys.executable,
        "-m",
        "infra.local_azure",
        "serve",
        "--state-dir",
        str(options.state_dir),
        *arguments,
    ]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
            cwd="/",
        )
    finally:
        os.close(log)


def _stop_orphans(options: Options) -> bool:
    """Find the replicas and the ingress that a killed server left running, and end them."""
    if not options.database.exists():
        return False
    from .runtime.scheduler import Scheduler

    async def end() -> None:
        tls = certificates.ensure(options.state_dir / "tls")
        scheduler = Scheduler(options.state_dir, options.images, (tls.certificate, tls.key))
        await scheduler.start()
        await scheduler.stop(terminate=True)

    try:
        with hold(options):
            asyncio.run(end())
    except BlockingIOError:
        return stop(options)
    return False
