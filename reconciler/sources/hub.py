"""A model hub. Adapters are downloaded into the cache. Of models only commit and size are read; a
job fetches them (see kinds/job). The work runs in threads; `remote` asks until it is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from reconciler.api.hub import HubModel
from reconciler.api.reasons import Reason
from reconciler.api.source import Source
from reconciler.engine.errors import NotReadyYet, RetryableError

log = structlog.get_logger(__name__)
SAFE_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")  # no pickles
COMPLETE = ".moorage-complete.tmp"  # its ending keeps it out of the digest
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds before a failed question is asked again
Question = Callable[..., Any]


@dataclass
class _Asked:
    """A question to the hub. After a failure it is not asked again before `again`, by a monotonic
    clock.
    """

    task: asyncio.Task[Any] | None = None
    error: str = ""
    failures: int = 0
    again: float = 0.0


class HubSources:
    """`endpoint` empty means the public hub. `arrived` is called when there is an answer, and when
    a question that failed may be asked again.
    """

    def __init__(
        self,
        cache: Path,
        endpoint: str,
        token: str,
        arrived: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Two hubs may have a repository of one name, so each has a folder of its own.
        self._cache = cache / "hub" / _named(endpoint)
        self._access = (endpoint or None, token or None)
        self._arrived = arrived
        self._clock = clock
        self._models: dict[Source, HubModel] = {}
        # By the question too: one source may be the model of a service and an adapter of another.
        self._asked: dict[tuple[Question, Source], _Asked] = {}

    def model(self, source: Source) -> HubModel:
        """Commit and size of a model. They are remembered on disk, so that a daemon can start while
        the hub is away.

        Raises:
            ReconcileError: the hub has not answered yet, or has refused.
        """
        if source not in self._models:
            folder = self._folder(source)
            remembered = folder.with_name(folder.name + ".json")
            try:
                self._models[source] = HubModel(*json.loads(remembered.read_bytes()))
            except (OSError, ValueError, TypeError):
                self._ask(_describe, source, remembered)
        return self._models[source]

    def adapter(self, source: Source) -> Path:
        """The folder that the adapter was downloaded to. Raises as `model` does."""
        folder = self._folder(source)
        if not (folder / COMPLETE).exists():
            self._ask(_download, source, folder)
        return folder

    async def close(self) -> None:
        tasks = [asked.task for asked in self._asked.values() if asked.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _folder(self, source: Source) -> Path:
        return self._cache / f"{quote(source.path, safe='')}@{quote(source.revision, safe='')}"

    def _ask(self, question: Question, source: Source, target: Path) -> None:
        """Start the question in the background, and raise, because it is not answered yet."""
        asked = self._asked.setdefault((question, source), _Asked())
        if asked.task is None and self._clock() >= asked.again:
            work = asyncio.to_thread(question, source, target, *self._access)
            asked.task = asyncio.create_task(work)
            asked.task.add_done_callback(partial(self._answered, question, source))
        if asked.error:
            raise RetryableError(Reason.FETCH_FAILED, asked.error)
        raise NotReadyYet(Reason.FETCHING, "it is being looked up")

    def _answered(self, question: Question, source: Source, task: asyncio.Task[Any]) -> None:
        asked = self._asked[question, source]
        asked.task = None
        if task.cancelled():
            return
        if error := task.exception():
            pause = min(FIRST_PAUSE * 2**asked.failures, LONGEST_PAUSE)
            asked.failures, asked.again = asked.failures + 1, self._clock() + pause
            asked.error = _sentence(error)
            log.warning("the hub did not answer", source=source.path, error=asked.error)
            asyncio.get_running_loop().call_later(pause, self._arrived)
        else:
            asked.failures, asked.error = 0, ""
            if question is _describe:
                self._models[source] = task.result()
        self._arrived()


def _named(endpoint: str) -> str:
    host = endpoint.rstrip("/")
    return hashlib.sha256(host.encode()).hexdigest()[:12] if host else "public"


def _describe(
    source: Source, remembered: Path, endpoint: str | None, token: str | None
) -> HubModel:
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint, token=token or False).model_info(
        source.path, revision=source.revision, files_metadata=True
    )
    files = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    size = sum(
        size
        for path, size in files.items()
        if any(fnmatch(path, pattern) for pattern in SAFE_FILES)
    )
    model = HubModel(str(info.sha), size)
    with suppress(OSError):  # only a memory: without it the hub is asked once more
        remembered.parent.mkdir(parents=True, exist_ok=True)
        scratch = remembered.with_name(remembered.name + ".tmp")
        scratch.write_text(json.dumps(list(model)), encoding="utf-8")
        scratch.replace(remembered)
    return model


def _download(source: Source, folder: Path, endpoint: str | None, token: str | None) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(
        source.path,
        revision=source.revision,
        local_dir=folder,
        allow_patterns=list(SAFE_FILES),
        endpoint=endpoint,
        token=token or False,
    )
    (folder / COMPLETE).touch()


def _sentence(error: BaseException) -> str:
    """The first line: the hub's client adds request ids and advice for programmers below it."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
