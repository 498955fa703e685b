"""Sources that are not on this machine. Adapters of a hub or of the share are brought into the
cache and from there on treated as local folders: hashed, checked, published. Of a hub's model only
commit and size are asked: a job fetches it (kinds/job).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import structlog

from reconciler.api.documents import InferenceService
from reconciler.api.hub import HubModel
from reconciler.api.loaded import Loaded
from reconciler.api.reasons import Reason
from reconciler.api.source import NEWEST, Source, SourceKind, parse_source
from reconciler.arm import files
from reconciler.arm.share import Share
from reconciler.engine.errors import NotReadyYet, ReconcileError
from reconciler.sources.newest import candidates, faults

log = structlog.get_logger(__name__)
SAFE_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")  # no pickles
COMPLETE = ".moorage-complete.tmp"  # its ending keeps it out of the digest


class RemoteSources:
    """Fetches in the background, one task per source; `ready` gives what is there. `endpoint` empty
    means the public hub.
    """

    def __init__(
        self, cache: Path, endpoint: str = "", token: str = "", *, quiet: float = 10.0
    ) -> None:
        self.cache = cache
        self.models: dict[str, HubModel] = {}
        self._hub = (endpoint or None, token or None)
        # seconds that a new adapter on the share must rest, for its writer may not be done
        self.quiet = quiet
        self.problems: dict[str, str] = {}
        self.refused: dict[
            str, str
        ] = {}  # why adapters that were found are not served, by their path on the share
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._stamps: dict[str, Mapping[str, str]] = {}
        self._chosen: dict[tuple[Share, str], Path] = {}  # what `_newest` gave last
        self.arrived = asyncio.Event()
        self.named = False  # whether documents name any

    async def ready(
        self, documents: Sequence[Loaded], shares: Mapping[str, Share]
    ) -> dict[str, Path]:
        """Local folders by source text, as far as they have arrived; `problems` says why others
        have not.

        `shares` are the Environments' shares by name. A hub is asked once per revision, a share's
        folder is fetched again whenever its listing changes.
        """
        found: dict[str, Path] = {}
        self.problems, self.refused = {}, {}
        self.named = False
        for loaded, environment, text, source, model in _remote(documents):
            self.named = True
            try:
                if model:
                    self._look_up(text, source)
                elif source.kind is SourceKind.SHARE and text.endswith(NEWEST):
                    found[text] = await self._newest(
                        source.path.removesuffix(NEWEST), shares[environment], loaded
                    )
                elif source.kind is SourceKind.SHARE:
                    found[text] = await self._mirror(source.path, shares[environment])
                elif folder := self._adapter(text, source):
                    found[text] = folder
            except ReconcileError as error:
                self.problems[text] = f"{text}: {error.message}"
        return found

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _look_up(self, text: str, source: Source) -> None:
        """Commit and size of a model; remembered on disk, so that a daemon that starts while the
        hub is away goes on.
        """
        folder = self._folder(source)
        remembered = folder.with_name(folder.name + ".json")
        if text not in self.models:
            try:
                self.models[text] = HubModel(*json.loads(remembered.read_bytes()))
            except (OSError, ValueError, TypeError):
                self._in_background(text, _describe, source, remembered, *self._hub)

    def _adapter(self, text: str, source: Source) -> Path | None:
        folder = self._folder(source)
        if (folder / COMPLETE).exists():
            return folder
        self._in_background(text, _download, source, folder, *self._hub)
        return None

    def _folder(self, source: Source) -> Path:
        return (
            self.cache
            / "hub"
            / f"{source.path.replace('/', '--')}@{source.revision.replace('/', '--')}"
        )

    def _in_background(self, text: str, work: Callable[..., object], *arguments: object) -> None:
        """Begin, or begin again after a failure, which is told."""
        task = self._tasks.get(text)
        self.problems[text] = f"{text} is being looked up"
        if task is None or task.done():
            if task is not None and (error := task.exception()):
                self.problems[text] = f"{text}: {_sentence(error)}"
                log.warning("the hub did not answer", source=text, error=_sentence(error))
            self._tasks[text] = task = asyncio.create_task(asyncio.to_thread(work, *arguments))
            task.add_done_callback(lambda _: self.arrived.set())

    async def _newest(self, below: str, share: Share, loaded: Loaded) -> Path:
        """The newest adapter below a folder of the share that can be served: each fine-tuning run
        leaves one of its own.
        """
        found, resting = candidates(
            await files.list_tree(share, below), self.quiet, share.arm.time.now()
        )
        if resting:  # an older one must not come in between
            asyncio.get_running_loop().call_later(self.quiet, self.arrived.set)
            if (share, below) in self._chosen:
                return self._chosen[share, below]
        for path in found:
            folder = await self._mirror(f"{below}/{path}".rstrip("/"), share)
            problems = await asyncio.to_thread(faults, folder, loaded)
            if not problems:
                self._chosen[share, below] = folder
                return folder
            self.refused[f"{below}/{path}"] = "; ".join(problems)
        if self.refused:
            raise NotReadyYet(
                Reason.ADAPTER_FAILED,
                "; ".join(f"{path}: {why}" for path, why in self.refused.items()),
            )
        waits = "one is being written" if resting else "it holds no adapter_config.json"
        raise NotReadyYet(
            Reason.MISSING,
            f"there is no adapter below {below} on the share {share.name} yet: {waits}",
        )

    async def _mirror(self, path: str, share: Share) -> Path:
        """Copy a folder of the share that is adapter-sized, each file again only when its etag
        changed.
        """
        folder = self.cache / "share" / share.account / share.name / path
        listed = await files.list_tree(share, path)
        if not listed:
            raise NotReadyYet("Missing", f"there is no folder {path} on the share {share.name}")
        known = self._stamps.get(str(folder), {})
        for name, entry in listed.items():
            if known.get(name) != entry.etag or not (folder / name).is_file():
                data = await files.read(share, f"{path}/{name}")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                await asyncio.to_thread((folder / name).write_bytes, data or b"")
        for here in [each for each in folder.rglob("*") if each.is_file()]:
            if here.relative_to(folder).as_posix() not in listed:
                here.unlink()
        self._stamps[str(folder)] = {name: entry.etag for name, entry in listed.items()}
        return folder


def _remote(documents: Sequence[Loaded]) -> Iterator[tuple[Loaded, str, str, Source, bool]]:
    """(document, Environment, source text, source, is it a model) of what is elsewhere, less models
    on the share: those stay.
    """
    for loaded in documents:
        if isinstance(loaded.document, InferenceService):
            for path, text in loaded.sources():
                source = parse_source(text)
                adapter = path[:2] == ("spec", "adapters")
                if source.kind is SourceKind.HUB or (source.kind is SourceKind.SHARE and adapter):
                    yield loaded, loaded.document.spec.environment, text, source, not adapter


def _describe(source: Source, remembered: Path, endpoint: str | None, token: str | None) -> None:
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
    remembered.parent.mkdir(parents=True, exist_ok=True)
    scratch = remembered.with_name(remembered.name + ".tmp")
    scratch.write_text(json.dumps([info.sha, size]), encoding="utf-8")
    scratch.replace(remembered)


def _download(source: Source, folder: Path, endpoint: str | None, token: str | None) -> None:
    from huggingface_hub import snapshot_download

    patterns = list(SAFE_FILES)
    snapshot_download(
        source.path,
        revision=source.revision,
        local_dir=folder,
        allow_patterns=patterns,
        endpoint=endpoint,
        token=token or False,
    )
    (folder / COMPLETE).touch()


def _sentence(error: BaseException) -> str:
    """The first line: the hub's client adds request ids and advice for programmers below it."""
    return next(
        (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
