"""Saved files -> validated documents with their local folders digested: all the disk work of a
pass, done in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.api.adapters import findings
from reconciler.api.digest import Tree, TreeError, digest_tree
from reconciler.api.documents import InferenceService
from reconciler.api.engine_flags import MAX_LORA_RANK
from reconciler.api.evaluation import read_evaluation
from reconciler.api.loaded import Loaded
from reconciler.api.manifest import Manifest, ReadFile, load
from reconciler.api.problems import ManifestError, Problem
from reconciler.api.stat_cache import StatCache
from reconciler.sources.runtime import build_runtime
from serving.catalogue import Expectation

Fetch = Callable[[Sequence[Loaded]], Awaitable[dict[str, Path]]]


@dataclass(frozen=True)
class Snapshot:
    """What the disk says now: the documents, the digests of the folders they name, adapters' ranks,
    the serving runtime, where sources from elsewhere were fetched to, and the evaluations by file.
    """

    manifest: Manifest
    trees: dict[Path, Tree]
    ranks: dict[Path, int]
    runtime: Tree
    fetched: dict[str, Path]
    evaluations: dict[Path, tuple[Expectation, ...]]


class DocumentSource:
    """Reads `files`; `cache` keeps hashes of unchanged files and the built runtime."""

    def __init__(self, files: Sequence[Path], cache: Path) -> None:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.files = list(files)
        self.cache = cache
        self.stats = StatCache(cache / "hashes.db")
        self._read: dict[Path, ReadFile] = {}

    async def read(self, fetch: Fetch) -> Snapshot:
        """The snapshot of this moment; `fetch` brings what is not on this machine.

        Raises:
            ManifestError: documents or folders cannot be used; every problem has a place.
        """
        manifest = await asyncio.to_thread(load, self.files, self._read)
        return await asyncio.to_thread(self._digest, manifest, await fetch(manifest.documents))

    def _digest(self, manifest: Manifest, fetched: dict[str, Path]) -> Snapshot:
        trees, problems = _digest_all(manifest.documents, self.stats)
        evaluations = {file: read_evaluation(file, problems) for file in manifest.files}
        if problems:
            raise ManifestError(problems)
        trees |= {folder: digest_tree(folder, self.stats) for folder in fetched.values()}
        runtime = digest_tree(build_runtime(self.cache), self.stats)
        return Snapshot(
            manifest, trees, _ranks(manifest.documents, fetched), runtime, fetched, evaluations
        )


def _digest_all(
    documents: Sequence[Loaded], stats: StatCache
) -> tuple[dict[Path, Tree], list[Problem]]:
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


def _ranks(documents: Sequence[Loaded], fetched: dict[str, Path]) -> dict[Path, int]:
    """The LoRA rank of each adapter; of local ones the preflight has been made by `load`, this asks
    its cache.
    """
    ranks = {}
    for loaded in documents:
        if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
            continue
        limit = loaded.document.spec.engine.args.get("max-lora-rank", MAX_LORA_RANK)
        adapters = loaded.document.spec.adapters
        for source in [
            *(a.source for a in adapters),
            *(a.canary.source for a in adapters if a.canary),
        ]:
            if folder := loaded.folder(source) or fetched.get(source):
                ranks[folder] = findings(
                    folder, loaded.folder(loaded.document.spec.model.source), limit
                ).rank
    return ranks
