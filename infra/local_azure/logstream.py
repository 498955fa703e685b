"""The log host: a replica's console and an app's or a job's system events, streamed to holders of a
getAuthtoken token.

`…/containerApps/{app}/revisions/{rev}/replicas/{replica}/containers/{c}/logstream`, the same below
`…/jobs/{job}/executions/{execution}`, and `…/containerApps/{app or job}/eventstream`; with
`follow`, `tailLines` (0..300) and `output` (json or text).
`…/managedEnvironments/{environment}/eventstream` has the events of all its apps. The shim writes
console lines in the CRI format.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from . import clock
from .arm.errors import ArmError
from .control import naming
from .control.apps import AppControl
from .control.jobs import JobControl
from .login import Login, TokenError
from .store import Record, Store

PATH = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourcegroups/(?P<group>[^/]+)/"
    r"(?P<kind>containerapps|jobs|managedenvironments)/(?P<app>[^/]+)/"
    r"(?:eventstream|(?:revisions|executions)/(?P<revision>[^/]+)/replicas/(?P<replica>[^/]+)"
    r"/containers/(?P<container>[^/]+)/logstream)",
    re.IGNORECASE,
)
_POLL_S = 0.2
_TAIL_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """What to stream: the last `tail` lines of each file, more as they come with `follow`, each put
    through `shape`.
    """

    paths: tuple[Path, ...]
    tail: int
    follow: bool
    shape: Callable[[str], str]
    greeting: tuple[str, ...] = ()


class LogHost:
    """Finds what a request asks to see, for a caller that may see it."""

    def __init__(self, store: Store, login: Login, apps: AppControl, jobs: JobControl) -> None:
        self._store = store
        self._login = login
        self._apps = apps
        self._jobs = jobs

    def open(
        self, request: web.BaseRequest, match: re.Match[str], query: Mapping[str, str]
    ) -> Source:
        """Check the token and find the file; ArmError when there is nothing to show."""
        app = self._app(match)
        self._authenticate(request, app)
        follow = query.get("follow", "false").lower() == "true"
        asked = query.get("tailLines") or "20"
        tail = min(int(asked), 300) if asked.isdigit() else 20
        if match["revision"] is None:
            return Source(self._events(app), tail, follow, _as_it_is)
        shape = _console_text if query.get("output", "json").lower() == "text" else _console_json
        what = "Execution" if app.kind == naming.JOB else "Revision"
        where = f"[{what}: '{match['revision']}', Replica: '{match['replica']}']"
        connecting = f"Connecting to the container '{match['container']}'..."
        connected = f"Successfully Connected to container: '{match['container']}' {where}"
        greeting = tuple(
            shape(f"{clock.zulu()} stdout F {text}") for text in (connecting, connected)
        )
        return Source((self._console(app, match),), tail, follow, shape, greeting)

    def _events(self, owner: Record) -> tuple[Path, ...]:
        """The system logs of an app, a job, or all apps of an environment."""
        if owner.kind == naming.JOB:
            return (self._jobs.system_log(owner.name),)
        if owner.kind == naming.APP:
            return (self._apps.system_log(owner),)
        apps = [
            app for app in self._store.each(naming.APP) if app.private["environment"] == owner.key
        ]
        return tuple(self._apps.system_log(app) for app in apps)

    def _app(self, match: re.Match[str]) -> Record:
        group = f"/subscriptions/{match['subscription']}/resourceGroups/{match['group']}"
        # The event streams of jobs have the same address as those of apps, so the first resource of
        # that name is shown.
        kind = match["kind"].lower()
        kinds = (
            ("containerapps", "jobs")
            if match["revision"] is None and kind == "containerapps"
            else (kind,)
        )
        for kind in kinds:
            record = self._store.get(f"{group}/providers/Microsoft.App/{kind}/{match['app']}")
            if record is not None:
                return record
        raise ArmError(404, "ResourceNotFound", f"The resource '{match['app']}' was not found.")

    def _authenticate(self, request: web.BaseRequest, app: Record) -> None:
        """Only a token made by getAuthtoken of this very app, job or environment opens its logs."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = self._login.verify(token) if scheme.lower() == "bearer" else {}
        except TokenError as refused:
            raise ArmError(401, refused.code, refused.message) from None
        if claims.get("aud") != "containerapps" or claims.get("app") != app.key:
            raise ArmError(
                401, "Unauthorized", "A token from getAuthtoken of this resource is required."
            )

    def _console(self, app: Record, match: re.Match[str]) -> Path:
        if app.kind == naming.JOB:
            return self._execution_console(app, match)
        revision = self._store.get(naming.revision_id(app, match["revision"]))
        if revision is None:
            raise ArmError(
                404, "RevisionNotFound", f"The revision '{match['revision']}' was not found."
            )
        for replica in self._apps.status(app, revision).replicas:
            if replica.name == match["replica"]:
                beside = {sidecar.name: sidecar.log for sidecar in replica.beside}
                return beside.get(match["container"], replica.log)
        raise ArmError(404, "ReplicaNotFound", f"The replica '{match['replica']}' was not found.")

    def _execution_console(self, job: Record, match: re.Match[str]) -> Path:
        execution = self._store.get(f"{job.id}/executions/{match['revision']}")
        for attempt in self._jobs.attempts(execution) if execution else []:
            if attempt.record.name == match["replica"]:
                return attempt.status().log
        raise ArmError(404, "ReplicaNotFound", f"The replica '{match['replica']}' was not found.")


async def stream(request: web.BaseRequest, source: Source) -> web.StreamResponse:
    """Send until the end of the file; with `follow`, until the client leaves."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    await _send(response, list(source.greeting))
    async with asyncio.TaskGroup() as files:
        for path in source.paths:
            files.create_task(_pour(response, path, source))
    await response.write_eof()
    return response


async def _pour(response: web.StreamResponse, path: Path, source: Source) -> None:
    async for lines in _lines(path, source.tail, follow=source.follow):
        await _send(response, [source.shape(line) for line in lines])


async def _lines(path: Path, tail: int, *, follow: bool) -> AsyncIterator[list[str]]:
    """The last lines, then what is appended; a rotated file is read from its start."""
    text, place, inode = await asyncio.to_thread(_end_of, path)
    complete, rest = _split(text)
    yield complete[len(complete) - tail :] if tail else []
    while follow:
        await asyncio.sleep(_POLL_S)
        more, place, inode = await asyncio.to_thread(_more_of, path, place, inode)
        if more:
            complete, rest = _split(rest + more)
            yield complete


def _end_of(path: Path) -> tuple[bytes, int, int]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
            return data, file.tell(), path.stat().st_ino
    except FileNotFoundError:
        return b"", 0, 0


def _more_of(path: Path, place: int, inode: int) -> tuple[bytes, int, int]:
    try:
        state = path.stat()
    except FileNotFoundError:
        return b"", place, inode
    if state.st_ino != inode or state.st_size < place:
        place = 0
    if state.st_size == place:
        return b"", place, state.st_ino
    with path.open("rb") as file:
        file.seek(place)
        data = file.read(_TAIL_BYTES)
        return data, file.tell(), state.st_ino


def _split(data: bytes) -> tuple[list[str], bytes]:
    whole, _, rest = data.rpartition(b"\n")
    return (whole.decode("utf-8", "replace").split("\n") if whole else []), rest


async def _send(response: web.StreamResponse, lines: list[str]) -> None:
    if lines:
        await response.write(("\n".join(lines) + "\n").encode())


def _parts(line: str) -> tuple[str, str]:
    """`2026-…Z stdout F text` -> time, text."""
    parts = line.split(" ", 3)
    return (parts[0], parts[3]) if len(parts) == 4 else ("", line)


def _console_json(line: str) -> str:
    instant, text = _parts(line)
    return json.dumps({"TimeStamp": instant, "Log": text}, ensure_ascii=False)


def _console_text(line: str) -> str:
    instant, text = _parts(line)
    return f"{instant} {text}".strip()


def _as_it_is(line: str) -> str:
    return line
