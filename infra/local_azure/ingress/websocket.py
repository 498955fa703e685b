"""WebSocket pass-through for `proxy`: two connections, frames copied both ways until one side
closes.
"""

import asyncio

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

_HANDSHAKE = frozenset(
    {
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    }
)


def is_websocket(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def tunnel(
    request: web.BaseRequest, session: aiohttp.ClientSession, url: URL, headers: CIMultiDict[str]
) -> web.WebSocketResponse:
    """Connects to the replica first, because after the upgrade a refusal could no longer be
    answered as HTTP. Raises aiohttp.ClientError.
    """
    protocols = [
        name.strip()
        for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if name.strip()
    ]
    forwarded = CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HANDSHAKE
    )
    async with session.ws_connect(
        url, headers=forwarded, protocols=protocols, max_msg_size=0
    ) as inner:
        outer = web.WebSocketResponse(
            protocols=[inner.protocol] if inner.protocol else [], max_msg_size=0
        )
        await outer.prepare(request)
        # Either side may end it; the other side gets the same code.
        copies = [
            asyncio.ensure_future(_copy(inner, outer)),
            asyncio.ensure_future(_copy(outer, inner)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            await outer.close(code=inner.close_code or 1000)
    return outer


async def _copy(
    source: "web.WebSocketResponse | aiohttp.ClientWebSocketResponse",
    target: "web.WebSocketResponse | aiohttp.ClientWebSocketResponse",
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
    await target.close(code=source.close_code or 1000)
