"""A stand-in for a model hub's HTTP interface, real HTTP on loopback: revisions, ranges, redirects,
tokens and bad days.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from aiohttp import web

# from this size on a file is kept apart, as LFS does, and reached by a redirect to another host
# name
LARGE = 64 * 1024


@dataclass
class HubStandIn:
    """One repository. `token` opens it, and `job_token`, where given, whatever is asked for by
    commit, as a job does. `cuts` ends the answer for a path after so many bytes, once each; `busy`
    answers 429 so many times.
    """

    repository: str
    files: dict[str, bytes]
    revisions: dict[str, str] = field(default_factory=lambda: {"main": "c0ffee" * 6 + "beef"})
    token: str = ""
    job_token: str = ""
    gated: bool = False
    cuts: dict[str, list[int]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    busy: int = 0
    endpoint: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    leaked: list[str] = field(
        default_factory=list
    )  # tokens that reached the host of the large files

    @contextmanager
    def serving(self) -> Iterator[HubStandIn]:
        """Serve in a thread of its own until the block ends."""
        import asyncio

        ready, loop = Event(), asyncio.new_event_loop()

        async def start() -> web.AppRunner:
            app = web.Application()
            app.router.add_get("/api/models/{org}/{name}/revision/{revision:.+}", self._revision)
            app.router.add_get("/api/models/{org}/{name}/tree/{commit}", self._tree)
            app.router.add_get("/{org}/{name}/resolve/{commit}/{path:.+}", self._resolve)
            app.router.add_get("/apart/{path:.+}", self._apart)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
            return runner

        def run() -> None:
            runner = loop.run_until_complete(start())
            ready.set()
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
            loop.close()

        thread = Thread(target=run, daemon=True)
        thread.start()
        ready.wait(10)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.busy:
            self.busy -= 1
            return web.Response(status=429, headers={"Retry-After": "0"})
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        name = f"{request.match_info['org']}/{request.match_info['name']}"
        if name != self.repository:
            return self._error(404, "RepoNotFound", "Repository not found")
        by_commit = (
            request.match_info.get("revision", request.match_info.get("commit"))
            in self.revisions.values()
        )
        wanted = (by_commit and self.job_token) or self.token
        if wanted and given not in (wanted, self.job_token or wanted):
            return self._error(
                401, "GatedRepo" if self.gated else "RepoNotFound", "Access is restricted"
            )
        return None

    @staticmethod
    def _error(status: int, code: str, message: str) -> web.Response:
        return web.json_response(
            {"error": message},
            status=status,
            headers={"X-Error-Code": code, "X-Error-Message": message},
        )

    async def _revision(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        revision = request.match_info["revision"]
        commit = self.revisions.get(revision, revision)
        if commit not in self.revisions.values():
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        siblings = [_sibling(path, data) for path, data in self.files.items()]
        return web.json_response(
            {
                "id": self.repository,
                "sha": commit,
                "siblings": siblings,
                "tags": [],
                "private": False,
            }
        )

    async def _tree(self, request: web.Request) -> web.Response:
        """What the hub's own client asks when it downloads a snapshot."""
        rows = [
            {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
            for path, data in self.files.items()
        ]
        return self._refused(request) or web.json_response(rows)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        if refused := self._refused(request):
            return refused
        path = request.match_info["path"]
        self.asked[path] += request.method == "GET"
        if len(self.files[path]) >= LARGE:
            return web.Response(
                status=302,
                headers={
                    "Location": f"{self.endpoint.replace('127.0.0.1', 'localhost')}/apart/{path}"
                },
            )
        return await self._send(request, path)

    async def _apart(self, request: web.Request) -> web.StreamResponse:
        if given := request.headers.get("Authorization"):
            self.leaked.append(given)
        return await self._send(request, request.match_info["path"])

    async def _send(self, request: web.Request, path: str) -> web.StreamResponse:
        data: Any = self.files[path]
        if path in self.wrong:
            data = bytes(len(data))
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        answer = web.StreamResponse(
            status=206 if begin else 200,
            headers={"Content-Length": str(len(data) - begin), **_facts(path)},
        )
        await answer.prepare(request)
        cut = self.cuts.get(path)
        end = cut.pop(0) if cut else len(data)
        await answer.write(data[begin:end])
        if end < len(data):
            assert request.transport is not None
            request.transport.close()
        return answer


def _facts(path: str) -> dict[str, str]:
    return {"ETag": f'"{hashlib.sha256(path.encode()).hexdigest()}"', "X-Repo-Commit": "c" * 40}


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    apart = {
        "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    }
    return {
        "rfilename": path,
        "size": len(data),
        "blobId": blob,
        **(apart if len(data) >= LARGE else {}),
    }
