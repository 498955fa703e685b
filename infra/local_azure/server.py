"""The server process: one HTTPS port on loopback for ARM, login, Azure Files and log streams, in
front of what `assembly` builds.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qsl

from aiohttp import web

from . import certificates, listener, logstream, vault_front
from .arm.errors import ArmError
from .arm.front import ArmRequest
from .arm.reply import Reply
from .assembly import assemble
from .exchanges import Exchanges
from .faults import events
from .faults.hooks import Cut
from .files.front import Incoming
from .journal import Journal
from .options import Options

_ARM = re.compile(r"/+(subscriptions|providers|metadata|tenants)(/|$)", re.IGNORECASE)
_LOOK_S = 1.0
_logger = logging.getLogger(__name__)
MOST_ARM, MOST_LOGIN = 4 * 1024 * 1024, 256 * 1024
_LOGIN = re.compile(
    r"/([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|common|organizations)/", re.IGNORECASE
)
_NOT_A_LOGIN: tuple[int, dict[str, str], dict[str, str]] = (
    404,
    {
        "error": "invalid_request",
        "error_description": "AADSTS90023: There is nothing at this address.",
    },
    {},
)


class Server:
    """One local Azure. `start` listens and adopts what runs; `stop` ends it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.certificates = certificates.ensure(options.state_dir / "tls")
        self.parts = assemble(options, self.certificates)
        self._journal = Journal(options.journal)
        self._exchanges = Exchanges()
        self._runner: web.ServerRunner | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        parts = self.parts
        parts.tree.start()
        port = self._port()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificates.certificate, self.certificates.key)
        self._runner = web.ServerRunner(
            listener.Listener(self._handle, idle_s=self.options.idle_s), shutdown_timeout=1.0
        )
        await self._runner.setup()
        parts.listen_at(f"https://127.0.0.1:{port}")
        await parts.apps.start()
        await parts.jobs.start()
        parts.operations.resume()
        parts.standing_faults.start()
        parts.runs.resume()
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,  # type: ignore[arg-type]  # None only before setup
            "127.0.0.1",
            port,
            ssl=context,
            ssl_handshake_timeout=min(10.0, self.options.idle_s),
            reuse_address=True,
            backlog=512,
        )

    async def stop(self, *, terminate: bool) -> None:
        if self._server:
            self._server.close()
        if self._runner:
            await self._runner.cleanup()
        parts = self.parts
        parts.standing_faults.stop()
        await asyncio.gather(
            parts.apps.stop(terminate=terminate), parts.jobs.stop(terminate=terminate)
        )
        self._journal.close()
        parts.close()

    def _port(self) -> int:
        """The same port at every start, because clients keep URLs with it."""
        if self.options.port:
            self.parts.store.keep("port", str(self.options.port))
        return int(self.parts.store.setting("port", lambda: str(self.parts.apps.free_port())))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Every request: find its plane, answer, and write the journal before the answer's last
        byte.
        """
        begun = time.perf_counter()
        path, _, query = request.message.path.partition("?")
        plane, answer = self._plane(path, request.headers.get("Host", ""))
        if not listener.is_clean(path):
            return listener.refusal(400, "Invalid URL", "The request URL is invalid.")
        agent, event = request.headers.get("User-Agent", ""), None
        if self.parts.faults:
            event = events.of_request(plane, request.method, path, query, agent)
        if event is not None and plane == "arm":
            # Whatever this request starts must see the faults that are in force.
            self.parts.standing_faults.look()
        events.CURRENT.set(event)
        status = -1

        def done(code: int) -> None:
            nonlocal status
            status = code
            hits = event.hits if event else ()
            seconds = time.perf_counter() - begun
            self._journal.write(
                client=agent,
                method=request.method,
                path=path,
                query=query,
                status=code,
                plane=plane,
                seconds=seconds,
                faults=hits,
            )

        try:
            cut_after = await self.parts.hooks.connection() if event else False
            response = await answer(request, path, query, done)
            if cut_after:
                raise Cut
            return response
        except Cut:
            if status < 0:
                done(0)
            reset(request.transport)
            return web.Response()  # to nobody
        except listener.TooSlow:
            done(408)
            return listener.refusal(408, "Request Timeout", "The request took too long.")
        except ConnectionError:
            if status < 0:
                done(499)
            return web.Response()  # to nobody

    def _plane(self, path: str, host: str) -> "tuple[str, Plane]":
        if vault_front.HOST.fullmatch(host):
            return "vaults", self._key_vault
        if logstream.PATH.fullmatch(path):
            return "logs", self._logs
        if _ARM.match(path):
            return "arm", self._resource_manager
        if _LOGIN.match(path):
            return "login", self._login
        return "files", self._azure_files

    async def _resource_manager(
        self, request: web.BaseRequest, path: str, query: str, done: Callable[[int], None]
    ) -> web.StreamResponse:
        try:
            body = await listener.body(request, MOST_ARM, self.options.idle_s)
        except listener.TooLarge:
            text = "The request content size exceeds the maximum size of 4 MB."
            done(413)
            return _json(
                Reply(
                    413,
                    ArmError(413, "RequestContentTooLarge", text).body(),
                    {"Connection": "close"},
                )
            )
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        reply = await self.parts.arm.answer(
            ArmRequest(request.method, path, parameters, request.headers, body, self._base(request))
        )
        done(reply.status)
        agent = request.headers.get("User-Agent", "")
        self._exchanges.write(request.method, path, query, agent, body, reply.status, reply.body)
        return _json(reply)

    async def _key_vault(
        self, request: web.BaseRequest, path: str, _query: str, done: Callable[[int], None]
    ) -> web.StreamResponse:
        try:
            body = await listener.body(request, MOST_LOGIN, self.options.idle_s)
        except listener.TooLarge:
            done(413)
            return listener.refusal(413, "Request Entity Too Large", "The body is too large.")
        host = request.headers["Host"]
        reply = self.parts.vaults.answer(host, request.method, path, request.headers, body)
        done(reply.status)
        return _json(reply)

    async def _login(
        self, request: web.BaseRequest, path: str, _query: str, done: Callable[[int], None]
    ) -> web.StreamResponse:
        try:
            body = await listener.body(request, MOST_LOGIN, self.options.idle_s)
        except listener.TooLarge:
            done(413)
            text = "AADSTS90100: The request body is too large."
            return _json(
                Reply(
                    413,
                    {"error": "invalid_request", "error_description": text},
                    {"Connection": "close"},
                )
            )
        answer = self.parts.hooks.login() if path.endswith("/token") else None
        answer = answer or self.parts.login.route(request.method, path, body, self._base(request))
        reply = Reply(*(answer or _NOT_A_LOGIN))
        done(reply.status)
        return _json(reply)

    async def _azure_files(
        self, request: web.BaseRequest, path: str, query: str, done: Callable[[int], None]
    ) -> web.StreamResponse:
        pairs = [
            (name.decode("latin-1"), value.decode("utf-8", "surrogateescape"))
            for name, value in request.raw_headers
        ]
        incoming = Incoming(
            request.method,
            path,
            query,
            request.headers,
            pairs,
            request.content,
            self._base(request),
            request.remote or "",
        )
        answer = await self.parts.files.answer(incoming)
        done(answer.status)
        content = (
            self.parts.hooks.content(path, answer.body, answer.length)
            if answer.status < 300
            else answer.body
        )
        if isinstance(content, bytes):
            response = web.Response(status=answer.status, headers=answer.headers, body=content)
            if request.method == "HEAD" and answer.length is not None:
                response.headers["Content-Length"] = str(answer.length)
            return response
        stream = web.StreamResponse(status=answer.status, headers=answer.headers)
        stream.content_length = answer.length
        await stream.prepare(request)
        async with contextlib.aclosing(content) as chunks:  # type: ignore[type-var]  # generators all
            async for chunk in chunks:
                await stream.write(chunk)
        await stream.write_eof()
        return stream

    async def _logs(
        self, request: web.BaseRequest, path: str, query: str, done: Callable[[int], None]
    ) -> web.StreamResponse:
        match = logstream.PATH.fullmatch(path)
        assert match is not None
        try:
            source = self.parts.logs.open(request, match, dict(parse_qsl(query)))
        except ArmError as refused:
            done(refused.status)
            return _json(Reply(refused.status, refused.body()))
        done(200)  # a followed stream may go on for hours: the journal has it from the beginning
        return await logstream.stream(request, source)

    def _base(self, request: web.BaseRequest) -> str:
        """Clients may say localhost; the links they get back say what they said."""
        return (
            f"https://{request.headers.get('Host') or self.parts.arm.base.removeprefix('https://')}"
        )


Plane = Callable[[web.BaseRequest, str, str, Callable[[int], None]], Awaitable[web.StreamResponse]]


def _json(reply: Reply) -> web.Response:
    if reply.body is None:
        return web.Response(status=reply.status, headers=dict(reply.headers))
    text = json.dumps(reply.body, ensure_ascii=False, separators=(",", ":"))
    return web.Response(
        status=reply.status, headers=dict(reply.headers), text=text, content_type="application/json"
    )


def reset(transport: asyncio.Transport | None) -> None:
    """Reset a connection, as a crash does."""
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def run(options: Options, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, which also end the replicas and the ingress; or until the
    state folder is moved or removed.
    """
    server = Server(options)
    stopping, moved = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    watching = asyncio.create_task(_watch(options.state_dir, moved, stopping))
    ready()
    await stopping.wait()
    watching.cancel()
    # A server at the new place adopts the replicas; without a place they end by themselves.
    await server.stop(terminate=not moved.is_set())


async def _watch(folder: Path, moved: asyncio.Event, stopping: asyncio.Event) -> None:
    """End when the folder was moved or removed. Otherwise this server would write to a folder that
    nobody looks at, and name files to clients that do not exist.
    """
    begun = folder.stat()
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            if os.path.samestat(begun, folder.stat()):
                continue
        except FileNotFoundError:
            pass
        except OSError:
            continue
        _logger.warning("%s was moved or removed: this server ends", folder)
        moved.set()
        stopping.set()
        return
