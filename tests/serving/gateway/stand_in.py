"""A service behind the gateway that loads no model: an ingress that holds requests while it
sleeps, and answers in OpenAI's shape when it is awake.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager

from aiohttp import web

NO_APP = "Error 404 - This Container App is stopped or does not exist."


class StandIn:
    """`starts_in` seconds pass from the first request to a sleeping service until it is awake."""

    def __init__(self, *, awake=True, starts_in=None, words=("one", "two", "three")):
        self.awake = asyncio.Event()
        if awake:
            self.awake.set()
        self.starts_in, self.words = starts_in, words
        self.seen = []  # (path, body, headers) of what reached a replica, in order
        self.asked = Counter()  # how often /ready was asked
        self.pause = 0.0
        self.failures = []  # what the next requests get: a status, "cut", "cut later"
        self.ingress = []  # what the next requests for readiness get from the ingress
        self.usage = True
        self.running = 0
        self._starting = None

    async def handle(self, request):
        if request.path == "/ready":
            self.asked[request.path] += 1
            if self.ingress:
                return web.Response(status=self.ingress.pop(0))
        await self._woken()
        if request.path == "/ready":
            return web.json_response({"ok": True})
        body = json.loads(await request.content.read())  # of any size
        self.seen.append((request.path, body, {n.lower(): v for n, v in request.headers.items()}))
        told = self.failures and self.failures[0] != "cut while it answers"
        if told and (failed := await self._fail(request, self.failures.pop(0))):
            return failed
        self.running += 1
        try:
            if request.path == "/v1/responses":
                return await self._response(request, body)
            if body.get("stream"):
                return await self._stream(request, body)
            await asyncio.sleep(self.pause)
            return web.json_response(self._whole(body))
        finally:
            self.running -= 1

    async def _woken(self):
        if self.starts_in is not None and not self.awake.is_set() and self._starting is None:
            self._starting = asyncio.get_running_loop().call_later(self.starts_in, self.awake.set)
        await self.awake.wait()

    async def _fail(self, request, how):
        if how == "cut":
            request.transport.abort()
            return web.Response()
        if how == "cut later":
            out = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await out.prepare(request)
            await out.write(_event({"choices": [{"index": 0, "delta": {"content": "one"}}]}))
            await asyncio.sleep(0.05)
            request.transport.abort()
            return out
        if how == "cut large":
            out = web.StreamResponse(headers={"content-length": str(20 << 20)})
            await out.prepare(request)
            await out.write(b"x" * (1 << 20))
            request.transport.close()
            return out
        if how == 404:
            return web.Response(status=404, text=NO_APP)
        if isinstance(how, tuple):
            return web.json_response(how[1], status=how[0])
        return web.Response(status=how, text="no healthy upstream")

    async def _stream(self, request, body):
        out = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await out.prepare(request)
        for word in self.words:
            await out.write(_event(_chunk(body, {"content": word + " "})))
            await asyncio.sleep(self.pause)
        await out.write(_event(_chunk(body, {}, "stop")))
        if self.usage:
            told = {"prompt_tokens": 7, "completion_tokens": len(self.words)}
            await out.write(f": moorage {json.dumps(told)}\n\n".encode())
        await out.write(b"data: [DONE]\n\n")
        await out.write_eof()
        return out

    async def _response(self, request, body):
        """The events that vLLM makes of a response."""
        out = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await out.prepare(request)
        shown = {"id": "resp_vllm", "object": "response", "created_at": 1, "model": body["model"]}
        shown |= {"status": "in_progress", "output": []}
        events = [("created", {"response": shown}), ("in_progress", {"response": shown})]
        text = ""
        for word in self.words:
            text += word + " "
            part = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
            events.append(("output_text.delta", {**part, "delta": word + " "}))
        content = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        usage = {"input_tokens": 7, "output_tokens": len(self.words), "total_tokens": 9}
        done = {"status": "completed", "output": [{**message, "content": content}], "usage": usage}
        events.append(("completed", {"response": {**shown, **done}}))
        for number, (kind, event) in enumerate(events):
            numbered = {"type": f"response.{kind}", "sequence_number": number, **event}
            await out.write(f"event: response.{kind}\n".encode() + _event(numbered))
            await asyncio.sleep(self.pause)
            cut = self.failures[:1] == ["cut while it answers"]
            if cut and kind == "output_text.delta":
                self.failures.pop(0)
                request.transport.abort()
                return out
        await out.write_eof()
        return out

    def _whole(self, body):
        message = {"role": "assistant", "content": " ".join(self.words)}
        return {
            "id": "c-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 7,
                "completion_tokens": len(self.words),
                "total_tokens": 7 + len(self.words),
            },
        }


@asynccontextmanager
async def served(handler, server=web.Server, **options):
    """The address of a server of this process."""
    runner = web.ServerRunner(server(handler, **options), shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _event(value):
    return f"data: {json.dumps(value)}\n\n".encode()


def _chunk(body, delta, finish=None):
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
