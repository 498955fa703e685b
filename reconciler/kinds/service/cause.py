"""Why a revision or an execution failed, in the words of Azure and of its container: the last lines
of output or of the platform's events, and what is left of the GPU quota. These words only add to
what is known, so whatever cannot be read is left out. `diagnosis` and `job` ask.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from reconciler.api import versions
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm import apps, ids, jobs
from reconciler.arm.clients import Arm
from reconciler.arm.logs import event_endpoint, job_token, log_token, stream_logs
from reconciler.engine.errors import ReconcileError
from reconciler.engine.external import Progress
from reconciler.kinds.service import quota
from reconciler.kinds.service.replicas import Seen
from serving.untrusted import UntrustedError, parse

LINES, LONGEST = 3, 200  # of output, and characters of each
READ = 40  # lines asked for; blank ones and those without a letter say nothing
READABLE = 4000  # characters of a line that are looked at
PATIENCE = 5.0  # seconds for one explanation
SHORTEST = 6  # characters of a value that is hidden; a shorter one would blot out words
SENTENCE = 20  # characters of what may be a repetition; fewer are a word
EVENTS = "Azure's last events: "
FRESH = 20.0  # seconds for which an explanation is not asked for again
_SECRET = re.compile(
    r"(?i)(mk-[\w-]{16,}|hf_\w{16,}|bearer\s+\S+|eyJ[\w-]+\.[\w-]+\.[\w-]+"
    r"|(?:[\w-]*(?:password|passwd|secret|token|api[_-]?key|account[_-]?key)[\w-]*|\bsig)"
    r"\"?\s*[=:]\s*\S+)"
)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\S+\s+(?:std(?:out|err) [FP] )?")
# Lines without a word, and those with which the log stream itself begins.
_EMPTY = re.compile(r"^\W*$|[Cc]onnect(?:ing|ed) to (?:the )?container", re.ASCII)
_NOISE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\x20-\x7e\xa0-\uffff]")


class Causes:
    """Remembers each explanation for a while, because a failing revision is looked at often."""

    def __init__(self, arm: Arm, clock: Callable[[], float]) -> None:
        self.arm, self.clock = arm, clock
        self._known: dict[str, tuple[float, str]] = {}

    async def of_failure(
        self, said: str, spec: ContainerAppSpec, found: Mapping[str, Any], seen: Seen
    ) -> str:
        """`said` about the wanted revision, together with what Azure and the container say."""
        details = [each.details for each in seen.mine if each.details and not each.ready][:1]
        asking = self._words(spec.resource_group, spec.name, spec.revision, found)
        words = await self._remembered(f"{spec.revision} fails", asking)
        room = await self.never_placed(spec, found, seen)
        parts = [room, said or f"revision {spec.revision} is not healthy", words, *details]
        return without_repeats(parts)

    async def full_quota(self, spec: ContainerAppSpec, found: Mapping[str, Any]) -> str:
        """A sentence if the GPU quota is used up; else empty."""
        full = quota.full(self.arm, spec, found)
        return await self._remembered(f"{spec.revision} lacks", full)

    async def never_placed(
        self, spec: ContainerAppSpec, found: Mapping[str, Any], seen: Seen
    ) -> str:
        """A sentence if no replica was ever placed because the GPU quota is used up; else empty."""
        return "" if seen.mine else await self.full_quota(spec, found)

    async def explained(self, progress: Progress, app: str) -> Progress:
        """`progress` of an operation on the app with this ARM id. The error that Azure gives is
        terse, so the container's own words are added.
        """
        if not isinstance(progress.error, ReconcileError):
            return progress
        words = await self._remembered(f"{app} failed", self._words_of_newest(app))
        return replace(progress, error=progress.error.explained(words))

    async def of_execution(self, job: str, execution: Mapping[str, Any]) -> str:
        """What Azure and the container say of a job's execution that failed."""
        key = f"{job}/{execution['name']}"
        words = await self._remembered(key, self._words_of_execution(job, str(execution["name"])))
        return ". ".join([*dict.fromkeys(_ends(execution)), *filter(None, [words])])

    async def _remembered(self, key: str, asking: Coroutine[Any, Any, str]) -> str:
        at, known = self._known.get(key, (-FRESH, ""))
        now = self.clock()
        if key in self._known and now - at < FRESH:
            asking.close()
            return known
        try:
            async with asyncio.timeout(PATIENCE):
                known = await asking
        except (ReconcileError, TimeoutError):
            pass  # what was known before still explains it
        self._known = {k: v for k, v in self._known.items() if now - v[0] < 10 * FRESH}
        self._known[key] = (now, known)
        return known

    async def _words_of_newest(self, app: str) -> str:
        found = await self.arm.get_json(app, versions.APP)
        properties = (found or {}).get("properties", {})
        newest = str(properties.get("latestRevisionName") or "")
        # A write that Azure refused made no revision: the newest one is an earlier one, and no
        # cause. The app shows the template that was refused.
        asked = (properties.get("template") or {}).get("revisionSuffix")
        refused = bool(asked) and not newest.endswith(f"--{asked}")
        ready = newest == properties.get("latestReadyRevisionName")
        if found is None or not newest or ready or refused:
            return ""
        group = ids.part(app, "resourceGroups")
        return await self._words(group, ids.name(app), newest, found)

    async def _words_of_execution(self, job: str, execution: str) -> str:
        """The end of the last replica's output."""
        group, name = ids.part(job, "resourceGroups"), ids.name(job)
        listed = await jobs.list_replicas(self.arm, group, name, execution)
        endpoints = [
            (str(container.get("name") or "container"), str(container["logStreamEndpoint"]))
            for replica in listed
            for container in (replica.get("properties") or {}).get("containers") or []
            if container.get("logStreamEndpoint")
        ]
        if not endpoints:
            return ""
        container, endpoint = endpoints[-1]
        token, hidden = await job_token(self.arm, group, name), [self.arm.settings.hf_token]
        lines = await self._tail(endpoint, token, hidden)
        return f"{container}'s last output: {lines}" if lines else ""

    async def _words(self, group: str, name: str, revision: str, found: Mapping[str, Any]) -> str:
        hidden = [*(await apps.list_secrets(self.arm, group, name)).values()]
        hidden.append(self.arm.settings.hf_token)
        token = await log_token(self.arm, group, name)
        for replica in await apps.list_replicas(self.arm, group, name, revision):
            for container in (replica.get("properties") or {}).get("containers") or []:
                endpoint = container.get("logStreamEndpoint")
                if not container.get("ready") and endpoint:
                    lines = await self._tail(str(endpoint), token, hidden)
                    if lines:
                        return f"{container.get('name', 'container')}'s last output: {lines}"
        endpoint = str(found["properties"].get("eventStreamEndpoint") or "")
        events = event_endpoint(self.arm, group, name, endpoint) if endpoint else ""
        lines = await self._tail(events, token, hidden, revision) if events else ""
        return f"{EVENTS}{lines}" if lines else ""

    async def _tail(self, endpoint: str, token: str, hidden: Iterable[str], about: str = "") -> str:
        lines: list[str] = []
        stream = stream_logs(self.arm, endpoint, token, follow=False, tail=READ)
        async for line in stream:
            text = plain(line, hidden)
            if about in line and not _EMPTY.search(text) and text not in lines[-1:]:
                lines = [*lines[1 - LINES :], text]
        return " | ".join(lines)


def without_repeats(parts: Iterable[str]) -> str:
    """The `parts` as one text, without sentences and events that repeat an earlier one: a failed
    pull stands in Azure's event, in the state of the replica and in that of the revision.
    """
    told: list[str] = []
    for part in dict.fromkeys(filter(None, parts)):
        events = part.startswith(EVENTS)
        head, between = (EVENTS, " | ") if events else ("", ". ")
        pieces = part.removeprefix(head).split(between)
        kept = [each for each in pieces if not _stands_in(each, " ".join(told))]
        if kept:
            told.append(f"{head}{between.join(kept)}".rstrip("."))
    return ". ".join(told)


def _stands_in(piece: str, told: str) -> bool:
    """Whether `told` has it, with or without the word that an event begins with."""
    texts = (piece.rstrip("."), piece.partition(": ")[2].rstrip("."))
    return any(len(text) >= SENTENCE and text in told for text in texts)


def meanwhile(spec: ContainerAppSpec, seen: Seen) -> str:
    """What serves while the wanted revision does not."""
    others = [each.name for each in seen.carrying if each.name != spec.revision]
    serves = bool(others) and seen.serves
    return f"{', '.join(others)} still serves" if serves else "nothing serves meanwhile"


def _ends(execution: Mapping[str, Any]) -> Iterator[str]:
    """How each container of an execution ended, in Azure's words."""
    status = execution["properties"].get("detailedStatus") or {}
    for replica in status.get("replicas") or ():
        for container in replica.get("containers") or ():
            code, why = container.get("code"), container.get("additionalInformation")
            if code or why:
                name = container.get("name") or "a container"
                yield plain(f"{name} ended with code {code}" + (f" ({why})" if why else ""))


def plain(line: str, hidden: Iterable[str] = ()) -> str:
    """A line of output as it may be shown: short, printable, without the `hidden` values and
    without anything that looks like a secret. Of a line of JSON, only its message.
    """
    line = _message(line[:READABLE])
    for value in _forms(hidden):
        line = line.replace(value, "(secret)")
    text = _SECRET.sub("(secret)", _NOISE.sub(" ", line))
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _forms(hidden: Iterable[str]) -> list[str]:
    """How a line may hold a hidden value: whole, one of its lines, or as JSON, Python and shells
    quote it. The longest come first, because one value may hold another.
    """
    lines = {part.strip() for value in hidden for part in (value, *value.splitlines())}
    quoted = {
        form
        for line in lines
        for form in (json.dumps(line)[1:-1], repr(line)[1:-1], line.replace("'", "\\'"))
    }
    long_enough = {form for form in lines | quoted if len(form) >= SHORTEST}
    return sorted(long_enough, key=len, reverse=True)


def _message(line: str) -> str:
    text = _STAMP.sub("", line)
    if text.startswith("{"):
        try:
            said = parse(text.encode())
        except UntrustedError:
            return text
        if isinstance(said, dict):
            named = {str(key).lower(): value for key, value in said.items()}
            words = [named.get(field) for field in ("reason", "msg", "message", "log")]
            return ": ".join(str(word) for word in words if word) or text
    return text
