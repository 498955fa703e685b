"""OpenAI's routes for responses in the background: create, retrieve, stream, cancel and delete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from serving.gateway.background import FLUSH, Background
from serving.gateway.callers import Caller
from serving.gateway.passage import BEGUN, SSE, Errand, reply
from serving.gateway.replies import comment
from serving.gateway.stored import StoredRequest
from serving.request.answers import Answer, refuse
from serving.request.bodies import RefusedError

_PATH = re.compile(r"/v1/responses/(?P<id>resp_[0-9a-f]{32})(?P<cancel>/cancel)?")
Extra = list[tuple[str, str]]


class ResponseRoutes:
    """front.py asks; background.py does the work."""

    def __init__(self, background: Background, pause: float) -> None:
        self._background, self._pause = background, pause

    @staticmethod
    def matches(path: str) -> bool:
        return _PATH.fullmatch(path) is not None

    async def take(
        self,
        request: web.BaseRequest,
        caller: Caller,
        errand: Errand,
        done: Callable[[int], None],
        extra: Extra,
    ) -> web.StreamResponse:
        """Keep the request; answer with its state, or with its events if they are asked for."""
        stored = await self._background.take(caller, errand, done)
        if errand.streamed:
            return await self._follow(request, stored, -1, extra)
        return _shown(await self._background.shown(stored, fetched=False), extra)

    async def answer(
        self, request: web.BaseRequest, path: str, caller: Caller, extra: Extra
    ) -> web.StreamResponse:
        """Raises RefusedError."""
        found = _PATH.fullmatch(path)
        assert found is not None
        allowed = ("POST",) if found["cancel"] else ("GET", "DELETE")
        if request.method not in allowed:
            text = f"Not allowed to {request.method} on {path}"
            allow = (b"allow", ", ".join(allowed).encode())
            raise RefusedError(refuse(405, text, "method_not_allowed", allow))
        # Looked up with the caller's key: another key's response does not exist for it.
        stored = await self._background.find(found["id"], caller)
        if request.method == "DELETE":
            await self._background.remove(stored)
            gone = {"id": stored.id, "object": "response", "deleted": True}
            return _shown(gone, extra)
        if request.method == "POST":
            return _shown(await self._background.cancel(stored), extra)
        query = request.rel_url.query
        if query.get("stream") == "true":
            return await self._follow(request, stored, _after(query), extra)
        return _shown(await self._background.shown(stored, fetched=True), extra)

    async def _follow(
        self, request: web.BaseRequest, stored: StoredRequest, after: int, extra: Extra
    ) -> web.StreamResponse:
        headers = CIMultiDict([("Content-Type", SSE), ("Cache-Control", "no-cache"), *extra])
        out = web.StreamResponse(headers=headers)
        request[BEGUN] = True
        await out.prepare(request)
        quiet = self._pause  # the first comment comes at once
        async for event in self._background.events(stored, after):
            if event is not None:
                quiet = 0.0
                await out.write(event)
                continue
            quiet += FLUSH
            if quiet >= self._pause:
                quiet = 0.0
                await out.write(comment(self._background.news(stored)))
        await out.write_eof()
        return out


def _after(query: Any) -> int:
    """Raises RefusedError."""
    given = query.get("starting_after", "-1")
    try:
        return int(given)
    except ValueError:
        text = "starting_after is no number of an event."
        raise RefusedError(refuse(400, text, "invalid_value", param="starting_after")) from None


def _shown(value: dict[str, Any], extra: Extra) -> web.Response:
    return reply(Answer(200, json.dumps(value).encode()), extra)
