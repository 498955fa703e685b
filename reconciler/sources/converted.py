"""Adapters with 32-bit weights, rewritten in the cache in the float type of the engine that serves
them: half the bytes to upload, to keep and to read. The version stays that of the source.

Blocking; `documents` calls it in its thread. Neighbours: api.engine_types says which type,
api.half_floats rewrites.
"""

from __future__ import annotations

import math
import os
import shutil
import time
import uuid
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import structlog

from reconciler.api.digest import File, Tree, TreeError, digest_tree
from reconciler.api.documents import InferenceService
from reconciler.api.engine_types import EngineType, engine_type
from reconciler.api.half_floats import ChangedError, OverflowsError, convert, is_wide
from reconciler.api.loaded import Loaded, Steps
from reconciler.api.manifest import Manifest
from reconciler.api.path_stamps import PathStamps
from reconciler.api.source import SourceRef
from reconciler.api.stat_cache import StatCache
from serving.inspection.json_files import FileFault
from serving.inspection.weights import read_header
from serving.preflight import READ

_, WEIGHTS = READ
KEPT = 24 * 3600.0  # seconds after its last use that a rewritten adapter stays in the cache
Converted = Mapping[tuple[str, Path], tuple[EngineType, Tree]]
Made = dict[str, tuple[Hashable, Mapping[str, File]]]  # stamp and files, by name in the cache

log = structlog.get_logger(__name__)


class ConvertedAdapters:
    """Below `cache`: `<digest of the source>-<type>/adapter_model.safetensors`, whole or absent."""

    def __init__(self, cache: Path, stats: StatCache) -> None:
        self._root = cache / "converted"
        self._stats = stats
        self._kept: dict[str, str] = {}  # why an adapter is published as it is
        self._made: Made = {}
        self._used: dict[str, float] = {}
        self._swept = -math.inf

    def of(
        self,
        manifest: Manifest,
        folders: Mapping[SourceRef, Path],
        trees: Mapping[Path, Tree],
        fit: Mapping[Path, int],
    ) -> Converted:
        """What to publish in place of a tree, by service and folder, with the type of its floats.
        `fit` has the adapters that can be served; the others stay as they are.
        """
        found, stamps = {}, manifest.stamps
        before, self._made = self._made, {}
        for loaded in manifest.documents:
            local = dict(loaded.folders(stamps))
            model = local.get(("spec", "model", "source"))
            token = stamps.of_all((model,) if model else ())
            kind = loaded.remembered("engine type", token, partial(engine_type, loaded))
            for folder in _adapters(loaded, local, folders) if kind else ():
                if kind and folder in fit and folder in trees:
                    tree = self._converted(trees[folder], kind, stamps, before)
                    if tree is not None:
                        found[loaded.document.metadata.name, folder] = (kind, tree)
        if time.monotonic() - self._swept > KEPT / 24:
            self._swept = time.monotonic()
            self._sweep()
        return found

    def _converted(
        self, tree: Tree, kind: EngineType, stamps: PathStamps, before: Made
    ) -> Tree | None:
        name = f"{tree.digest}-{kind.half}"
        weights, folder = tree.files.get(WEIGHTS), self._root / name
        if weights is None or name in self._kept:
            return None
        try:
            if not folder.is_dir():
                if not is_wide(read_header(weights.path)):
                    self._kept[name] = "its weights have 16 bits"
                    return None
                self._rewrite(weights.path, folder, kind, weights.sha256)
            self._use(folder)
            stamp = stamps.of(folder)
            known = before.get(name)
            if known is None or stamp is None or known[0] != stamp:
                known = stamp, digest_tree(folder, self._stats).files
            self._made[name] = known
            rewritten = known[1]
        except OverflowsError as error:
            self._kept[name] = f"a value of {error} is too large for {kind.half}"
            log.warning("adapter published as it is", why=self._kept[name])
            return None
        # A full disk, or a file that somebody writes to: the original can still be published.
        except (ChangedError, FileFault, TreeError, OSError) as error:
            log.warning("adapter published as it is", why=str(error))
            return None
        files = MappingProxyType({**tree.files, **rewritten})
        return replace(tree, files=files, dtype=kind.half)

    def _use(self, folder: Path) -> None:
        """Note that it is used, but not at every save: that would give it another stamp."""
        now = time.monotonic()
        if now - self._used.get(folder.name, -math.inf) > KEPT / 24:
            self._used[folder.name] = now
            folder.touch()

    def _rewrite(self, weights: Path, folder: Path, kind: EngineType, sha256: str) -> None:
        scratch = folder.with_suffix(f".{uuid.uuid4().hex}.partial")
        scratch.mkdir(parents=True)
        try:
            convert(weights, scratch / WEIGHTS, kind.half, sha256)
            # Renamed once it is whole; another command with this cache may have been faster.
            with suppress(OSError):
                scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _sweep(self) -> None:
        with suppress(OSError):
            os.utime(self._root)  # the current time, by the same clock that stamped the folders
            now = self._root.stat().st_mtime
            for folder in self._root.iterdir():
                if now - folder.stat().st_mtime > KEPT:
                    shutil.rmtree(folder, ignore_errors=True)


def _adapters(
    loaded: Loaded, local: Mapping[Steps, Path], fetched: Mapping[SourceRef, Path]
) -> Iterator[Path]:
    if isinstance(loaded.document, InferenceService):
        name, environment = loaded.document.metadata.name, loaded.document.spec.environment
        for path, source in loaded.sources():
            folder = local.get(path) or fetched.get(SourceRef.of(environment, source, name))
            if path[:2] == ("spec", "adapters") and folder is not None:
                yield folder
