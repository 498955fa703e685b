"""Folders that are not on this machine: models of a hub, and adapters that somebody put on the share. Both are brought into
the cache and from there on treated as local folders: hashed, checked, published under their digest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from reconciler.api.documents import InferenceService
from reconciler.api.loaded import Loaded
from reconciler.api.source import Source, SourceKind, parse_source
from reconciler.arm import files
from reconciler.arm.share import Share
from reconciler.engine.errors import NotReadyYet, ReconcileError

log = structlog.get_logger(__name__)
SAFE_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")  # no pickles
COMPLETE = ".moorage-complete.tmp"  # its ending keeps it out of the digest


class RemoteSources:
    """Fetches in the background, one task per source; `ready` gives what is there."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.problems: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[Path]] = {}
        self._stamps: dict[str, Mapping[str, str]] = {}
        self.arrived = asyncio.Event()
        self.named = False  # whether documents name any

    async def ready(self, documents: Sequence[Loaded], shares: Mapping[str, Share]) -> dict[str, Path]:
        """Local folders by source text, as far as they have arrived; `problems` says why others have not.

        `shares` are the Environments' shares by name. A hub model is fetched once per revision, a share's folder whenever
        its listing changes.
        """
        found: dict[str, Path] = {}
        self.problems = {}
        self.named = False
        for environment, text, source in _remote(documents):
            self.named = True
            try:
                if source.kind is SourceKind.HUB:
                    folder = self._hub(text, source)
                else:
                    folder = await self._mirror(text, source, shares[environment])
            except ReconcileError as error:
                self.problems[text] = f"{text}: {error.message}"
                continue
            if folder is not None:
                found[text] = folder
            else:
                self.problems[text] = f"{text} is being fetched"
        return found

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _hub(self, text: str, source: Source) -> Path | None:
        folder = self.cache / "hub" / f"{source.path.replace('/', '--')}@{source.revision.replace('/', '--')}"
        if (folder / COMPLETE).exists():
            return folder
        task = self._tasks.get(text)
        if task is None or (task.done() and task.exception()):
            if task is not None:
                log.warning("model not fetched", source=text, error=str(task.exception()))
                self.problems[text] = f"{text}: {task.exception()}"
            self._tasks[text] = task = asyncio.create_task(asyncio.to_thread(_download, source, folder))
            task.add_done_callback(lambda _: self.arrived.set())
        return None

    async def _mirror(self, text: str, source: Source, share: Share) -> Path:
        """Copy a folder of the share that is adapter-sized, each file again only when its etag changed."""
        folder = self.cache / "share" / share.account / share.name / source.path
        listed = await files.list_tree(share, source.path)
        if not listed:
            raise NotReadyYet("Missing", f"there is no folder {source.path} on the share {share.name}")
        known = self._stamps.get(text, {})
        for path, entry in listed.items():
            if known.get(path) != entry.etag or not (folder / path).is_file():
                data = await files.read(share, f"{source.path}/{path}")
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                await asyncio.to_thread((folder / path).write_bytes, data or b"")
        for here in [each for each in folder.rglob("*") if each.is_file()]:
            if here.relative_to(folder).as_posix() not in listed:
                here.unlink()
        self._stamps[text] = {path: entry.etag for path, entry in listed.items()}
        return folder


def _remote(documents: Sequence[Loaded]) -> Iterator[tuple[str, str, Source]]:
    """(Environment, source text, source) of everything that has to be fetched; a model on the share is used where it is."""
    for loaded in documents:
        if isinstance(loaded.document, InferenceService):
            for path, text in loaded.sources():
                source = parse_source(text)
                adapter = path[:2] == ("spec", "adapters")
                if source.kind is SourceKind.HUB or (source.kind is SourceKind.SHARE and adapter):
                    yield loaded.document.spec.environment, text, source


def _download(source: Source, folder: Path) -> Path:
    from huggingface_hub import snapshot_download

    snapshot_download(
        source.path,
        revision=source.revision,
        local_dir=folder,
        allow_patterns=list(SAFE_FILES),
        endpoint=os.environ.get("HF_ENDPOINT") or None,
    )
    (folder / COMPLETE).touch()
    return folder
