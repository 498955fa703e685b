"""One request through a gate without a server: the application behind it, a door with keys, and what
came back.
"""

import asyncio
import hashlib
from types import SimpleNamespace

from serving.catalogue import ApiKey
from serving.gate import Door, Gate
from serving.request.keys import Keys
from serving.request.traffic import Traffic, current_call

KEY = "sk-secret"
AUTHORIZED = [(b"authorization", b"Bearer " + KEY.encode())]


class Version:
    name, digest, pins = "red", "0123456789abcdef", 0

    def __init__(self):
        self.traffic = Traffic()


class Inner:
    """The application behind the gate: notes each call, pins a version when told to, answers in two
    chunks.
    """

    def __init__(self, status=200, body=(b"one", b"two"), version=None):
        self.scopes, self.bodies, self.status, self.body, self.version = (
            [],
            [],
            status,
            body,
            version,
        )
        self.entered, self.go = asyncio.Semaphore(0), asyncio.Event()
        self.go.set()

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        if self.version:
            current_call.get().pin(self.version)
        self.entered.release()
        message = await receive() if scope["method"] == "POST" else {}
        self.bodies.append(message.get("body"))
        await self.go.wait()
        await send(
            {"type": "http.response.start", "status": self.status, "headers": [(b"x-inner", b"1")]}
        )
        for index, chunk in enumerate(self.body):
            await send(
                {
                    "type": "http.response.body",
                    "body": chunk,
                    "more_body": index + 1 < len(self.body),
                }
            )


def api_key(name, text=KEY, **options):
    return ApiKey(name=name, sha256=hashlib.sha256(text.encode()).hexdigest(), **options)


def make_door(**changes):
    door = Door(ready=lambda: (True, ""), alive=lambda: True, open=True)
    door.keys = Keys([ApiKey(name="other", sha256="0" * 64), api_key("default")])
    for name, value in changes.items():
        setattr(door, name, value)
    return door


async def call(
    path,
    method="GET",
    *,
    headers=AUTHORIZED,
    door=None,
    inner=None,
    body=(b"{}",),
    raw=None,
    receive_more=None,
    **scope,
):
    """(status, body, headers, inner) of one request through a gate."""
    inner = inner or Inner()
    state = SimpleNamespace() if door == "none" else SimpleNamespace(moorage=door or make_door())
    chunks, sent = list(body), []
    if method == "POST" and not any(
        name in {b"content-length", b"transfer-encoding"} for name, _ in headers
    ):
        headers = [*headers, (b"content-length", str(sum(map(len, chunks))).encode())]

    async def receive():
        if not chunks:
            return await receive_more() if receive_more else {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message):
        sent.append(message)

    full = {
        "type": "http",
        "path": path,
        "raw_path": path.encode() if raw is None else raw,
        "method": method,
        "headers": headers,
        "app": SimpleNamespace(state=state),
        "root_path": "",
        **scope,
    }
    await Gate(inner)(full, receive, send)
    data = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0].get("status"), data, dict(sent[0].get("headers", ())), inner
