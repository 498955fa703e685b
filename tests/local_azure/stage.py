"""A scheduler with its ingress in a folder of its own, and the small servers that its replicas run.
Shared by the runtime's tests.
"""

import asyncio
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.local_azure.runtime.scheduler import Scheduler
from infra.local_azure.runtime.workload import RevisionStatus, Workload, revision_key
from tests.patience import LEAST

# Answers GET with its own facts, streams /stream slowly, echoes POST; SIGTERM is not handled, as in
# any plain script.
SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
broken = set()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def do_GET(self):
        if self.path == "/die": os._exit(3)
        if self.path.startswith("/break"): broken.add(self.path.removeprefix("/break"))
        if self.path == "/stream": return self.stream()
        body = json.dumps({"replica": os.environ["CONTAINER_APP_REPLICA_NAME"], "pid": os.getpid(), "path": self.path,
                           "headers": dict(self.headers), "env": dict(os.environ)}).encode()
        self.answer(503 if self.path in broken else 200, body)
    def do_POST(self):
        self.answer(200, self.rfile.read(int(self.headers.get("Content-Length", 0))))
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "a=1"); self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(body)
    def stream(self):
        self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
        try:
            for index in range(20):
                text = f"data: {index}\\n\\n".encode()
                self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(text), text)); self.wfile.flush(); time.sleep(0.03)
            self.wfile.write(b"0\\r\\n\\r\\n")
        except OSError:
            print("client left", flush=True)
    def log_message(self, *args): pass
time.sleep(float(os.environ.get("BOOT_SECONDS", "0")))
print("listening", flush=True)
class Server(ThreadingHTTPServer):
    request_queue_size = 128
Server(("", 8000), Handler).serve_forever()
"""

_IMAGES = """
- image: ["python:3.11*"]
  environment: {plain}
  cmd: [python3]
- image: ["aiohttp:*"]
  environment: {product}
"""
PROBES: tuple[dict[str, Any], ...] = (
    {
        "type": "Startup",
        "httpGet": {"path": "/ready", "port": 8000},
        "periodSeconds": 0.05,
        "failureThreshold": 200,
    },
    {
        "type": "Readiness",
        "httpGet": {"path": "/ready", "port": 8000},
        "periodSeconds": 0.1,
        "failureThreshold": 1,
    },
    {
        "type": "Liveness",
        "httpGet": {"path": "/live", "port": 8000},
        "periodSeconds": 0.1,
        "failureThreshold": 2,
    },
)


APP_ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.App/containerApps/phi"


class Stage:
    """The local Azure's folder for one test, and its scheduler, which may be replaced."""

    def __init__(self, folder: Path, request_timeout_s: float, speed: float) -> None:
        self.speed = speed
        self.folder = folder / "local-azure"
        self.folder.mkdir(mode=0o700)
        self.images = folder / "images.yaml"
        self.images.write_text(_IMAGES.format(plain=sys.base_prefix, product=sys.prefix))
        self.tls = _certificate(folder)
        self.port = _free_port()
        self.request_timeout_s = request_timeout_s
        self.scheduler = self._new()

    def workload(self, revision: str = "phi--one", **changes: Any) -> Workload:
        return replace(
            Workload(
                app="phi",
                app_id=APP_ID,
                revision=revision,
                image="python:3.11-slim",
                command=("python3", "-c", SERVER),
                args=(),
                env={},
                mounts=(),
                probes=PROBES,
                target_port=8000,
                ingress_port=self.port,
                fqdn=f"localhost:{self.port}",
                dns_suffix="dev.local",
                min_replicas=1,
                max_replicas=3,
                concurrent_requests=10,
                cooldown_s=60,
                termination_grace_s=3,
                weight=100,
            ),
            **changes,
        )

    async def restart_scheduler(self) -> None:
        """What a killed and restarted server amounts to: nothing is stopped, a new scheduler finds
        what lives.
        """
        await self.scheduler.stop(terminate=False)
        self.scheduler = self._new()
        await self.scheduler.start()

    async def until(
        self,
        condition: Callable[[RevisionStatus], bool],
        revision: str = "phi--one",
        seconds: float = LEAST,
    ) -> RevisionStatus:
        """Waits for a state of a revision; fails with the last one seen."""
        end = time.monotonic() + seconds
        while not condition(status := self.status(revision)):
            assert time.monotonic() < end, (
                f"not reached within {seconds} s: {status}\n{self.events()}"
            )
            await asyncio.sleep(0.02)
        return status

    def status(self, revision: str = "phi--one", app_id: str = APP_ID) -> RevisionStatus:
        return self.scheduler.status(revision_key(app_id, revision))

    async def healthy(self, revision: str = "phi--one", replicas: int = 1) -> RevisionStatus:
        return await self.until(
            lambda status: sum(replica.ready for replica in status.replicas) == replicas, revision
        )

    def events(self, app_id: str = APP_ID) -> str:
        path = self.scheduler.system_log(app_id)
        return path.read_text() if path.exists() else ""

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client that trusts this stage and knows its port."""
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(self.tls[0])))
        async with aiohttp.ClientSession(
            f"https://127.0.0.1:{self.port}", connector=connector
        ) as session:
            yield session

    async def get(self, path: str = "/") -> dict[str, Any]:
        """The facts that the plain server answers with."""
        return json.loads(await self.reach(path))

    async def reach(self, path: str = "/", seconds: float = LEAST) -> str:
        """GET until it is answered 200: the ingress process starts beside the first replica and
        learns of it a moment later.
        """
        end = time.monotonic() + seconds
        async with self.client() as session:
            while True:
                try:
                    async with session.get(path) as response:
                        if response.status == 200:
                            return await response.text()
                        problem = f"{response.status} {await response.text()}"
                except aiohttp.ClientConnectorError as error:
                    problem = str(error)
                assert time.monotonic() < end, problem
                await asyncio.sleep(0.02)

    def processes(self) -> list[int]:
        """Every process that has this stage's folder in its command line or as its working
        directory.
        """
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and self._is_ours(entry)
        ]

    def _is_ours(self, entry: Path) -> bool:
        try:
            text = (entry / "cmdline").read_bytes().decode() + str((entry / "cwd").readlink())
            return str(self.folder) in text and int(entry.name) != os.getpid()
        except OSError:
            return False

    def _new(self) -> Scheduler:
        return Scheduler(
            self.folder,
            self.images,
            self.tls,
            request_timeout_s=self.request_timeout_s,
            speed=self.speed,
        )


@asynccontextmanager
async def stage(
    folder: Path, *, request_timeout_s: float = 240.0, speed: float = 1.0
) -> AsyncIterator[Stage]:
    """A started stage; at the end every process of it is gone."""
    made = Stage(folder, request_timeout_s, speed)
    await made.scheduler.start()
    try:
        yield made
    finally:
        await made.scheduler.stop(terminate=True)
        for _ in range(100):
            if not made.processes():
                break
            await asyncio.sleep(0.02)
        left = made.processes()
        for pid in left:
            os.kill(pid, 9)
        assert not left, "processes were left behind"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stage")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = (folder / "certificate.pem", folder / "key.pem")
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths[1].write_bytes(private)
    return paths
