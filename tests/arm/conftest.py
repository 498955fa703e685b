"""A scripted HTTPS server with a login, for answers that only Azure on a bad day gives; and
settings that reach it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import secrets
import ssl
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.arm import operations, resources, storage
from reconciler.arm.clients import Arm
from reconciler.arm.share import Share
from reconciler.engine.external import Operation
from reconciler.settings import Settings

TENANT = "11111111-1111-1111-1111-111111111111"
Finish = Callable[[Arm, str | None], Awaitable[None]]
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"


@dataclass
class Scripted:
    """Answers each request with the next of its script, or with the only one left; remembers what
    was asked.
    """

    url: str = ""
    ca: Path = Path()
    script: dict[tuple[str, str], deque[tuple[int, dict[str, str], Any]]] = field(
        default_factory=dict
    )
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    tokens: int = 0
    page: int = 0  # the status with which a sign-in page answers in place of all; 0: none does
    nobody: int = 404  # what is answered where no app can be meant, as by an ingress

    def on(
        self,
        method: str,
        path: str,
        status: int = 200,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Add an answer for `path` (without the query); `{url}` in a header becomes this server's
        address.
        """
        filled = {name: value.replace("{url}", self.url) for name, value in (headers or {}).items()}
        self.script.setdefault((method, path.lower()), deque()).append((status, filled, body))

    def settings(self, **changes: Any) -> Settings:
        given = {
            "target": "azure",
            "credential": "service-principal",
            "subscription_id": SUBSCRIPTION,
            "arm_endpoint": self.url,
            "authority": self.url,
            "ca_file": self.ca,
            "tenant_id": TENANT,
            "client_id": "daemon",
            "client_secret": "hush",
        }
        return Settings(**{**given, **changes})

    async def handle(self, request: web.Request) -> web.Response:
        path = request.path
        if self.page:
            text = "<html><body>Please sign in</body></html>"
            return web.Response(status=self.page, text=text, content_type="text/html")
        if path.endswith("/.well-known/openid-configuration"):
            return web.json_response(self._metadata())
        if path.endswith("/oauth2/v2.0/token"):
            self.tokens += 1
            return web.json_response(
                {"token_type": "Bearer", "expires_in": 3600, "access_token": "a-token"}
            )
        if request.headers["Host"].partition(".")[0].endswith("--0"):
            return web.Response(status=self.nobody)
        text = await request.text()
        self.asked.append(
            (
                request.method,
                str(request.rel_url),
                json.loads(text) if text[:1] in "{[" and text else text,
            )
        )
        self.headers.append(dict(request.headers))
        answers = self.script.get((request.method, path.lower()))
        if not answers:
            return web.json_response(
                {"error": {"code": "ResourceNotFound", "message": f"{path} is not scripted."}},
                status=404,
            )
        status, headers, body = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(body, str):
            return web.Response(status=status, headers=headers, text=body)
        if body is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    def _metadata(self) -> dict[str, Any]:
        root = f"{self.url}/{TENANT}"
        return {
            "issuer": f"{root}/v2.0",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
        }


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
async def scripted(certificate: Path) -> AsyncIterator[Scripted]:
    server = Scripted(ca=certificate)
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture(scope="session")
def local_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings for a local Azure of its own, stopped when all tests are done."""
    server = [sys.executable, "-m", "infra.local_azure"]
    state = ["--state-dir", str(tmp_path_factory.mktemp("local-azure"))]
    started = subprocess.run(
        [*server, "start", *state, "-o", "json"], check=True, capture_output=True, text=True
    )
    try:
        yield Settings.for_local(json.loads(started.stdout), {})
    finally:
        subprocess.run([*server, "stop", *state], check=True, capture_output=True)


@pytest.fixture
async def live(local_azure: Settings) -> AsyncIterator[Arm]:
    """A connection to the local Azure."""
    async with Arm(local_azure) as connected:
        yield connected


@pytest.fixture
def finished() -> Finish:
    """Polls an operation to its end."""

    async def finish(arm: Arm, operation: Operation | None) -> None:
        while operation:
            progress = await operations.poll(arm, operation.token, "")
            if progress.error:
                raise progress.error
            if progress.done:
                return
            await asyncio.sleep(progress.retry_after or 0.05)

    return finish


@pytest.fixture
async def share(live: Arm, finished: Finish) -> Share:
    """A share with a name of its own, in an account that all tests use."""
    location = {"location": "swedencentral"}
    await resources.put_resource_group(live, "rg-files", location)
    account = {**location, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {}}
    await finished(live, await storage.put_storage_account(live, "rg-files", "stfiles01", account))
    name = f"s{secrets.token_hex(4)}"
    await storage.put_share(live, "rg-files", "stfiles01", name, {"properties": {"shareQuota": 10}})
    return Share(live, "rg-files", "stfiles01", name)


@pytest.fixture
async def arm(scripted: Scripted) -> AsyncIterator[Arm]:
    async with Arm(scripted.settings()) as connected:
        yield connected
