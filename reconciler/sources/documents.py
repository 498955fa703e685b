"""Saved files -> validated documents with their local folders digested: all the disk work of a pass, done in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.api.adapters import findings
from reconciler.api.digest import Tree, TreeError, digest_tree
from reconciler.api.documents import InferenceService
from reconciler.api.engine_flags import MAX_LORA_RANK
from reconciler.api.loaded import Loaded
from reconciler.api.manifest import Manifest, load
from reconciler.api.problems import ManifestError, Problem
from reconciler.api.stat_cache import StatCache
from reconciler.sources.runtime import build_runtime


@dataclass(frozen=True)
class Snapshot:
    """What the disk says now: the documents, the digests of the folders they name, adapters' ranks, the serving runtime."""

    manifest: Manifest
    trees: dict[Path, Tree]
    ranks: dict[Path, int]
    runtime: Tree


class DocumentSource:
    """Reads `files`; `cache` keeps hashes of unchanged files and the built runtime."""

    def __init__(self, files: Sequence[Path], cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.files = list(files)
        self.cache = cache
        self.stats = StatCache(cache / "hashes.db")

    async def read(self) -> Snapshot:
        """The snapshot of this moment.

        Raises:
            ManifestError: documents or folders cannot be used; every problem has a place.

        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Snapshot:
        manifest = load(self.files)
        trees, problems = _digest_all(manifest.documents, self.stats)
        if problems:
            raise ManifestError(problems)
        runtime = digest_tree(build_runtime(self.cache), self.stats)
        return Snapshot(manifest, trees, _ranks(manifest.documents), runtime)


def _digest_all(documents: Sequence[Loaded], stats: StatCache) -> tuple[dict[Path, Tree], list[Problem]]:
    trees: dict[Path, Tree] = {}
    problems = []
    for loaded in documents:
        for path, folder in loaded.folders():
            if folder in trees:
                continue
            try:
                trees[folder] = digest_tree(folder, stats)
            except TreeError as error:
                problems.append(loaded.problem(path, f"the folder cannot be published: {error}"))
    return trees, problems


def _ranks(documents: Sequence[Loaded]) -> dict[Path, int]:
    """The LoRA rank of each local adapter; the preflight has been made by `load`, this asks its cache."""
    ranks = {}
    for loaded in documents:
        if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
            continue
        limit = loaded.document.spec.engine.args.get("max-lora-rank", MAX_LORA_RANK)
        for adapter in loaded.document.spec.adapters:
            if folder := loaded.folder(adapter.source):
                ranks[folder] = findings(folder, loaded.folder(loaded.document.spec.model.source), limit).rank
    return ranks
