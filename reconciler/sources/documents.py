"""Saved files -> validated documents with their local folders digested: all the disk work of a
pass, done in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from reconciler.api.adapters import Unfit, fit, unfit
from reconciler.api.digest import Tree, TreeError, digest_tree
from reconciler.api.documents import Environment, InferenceService
from reconciler.api.evaluation import read_evaluation
from reconciler.api.loaded import Loaded
from reconciler.api.manifest import Manifest, ReadFile, load
from reconciler.api.path_stamps import PathStamps
from reconciler.api.problems import ManifestError, Problem
from reconciler.api.secret_values import SecretValues
from reconciler.api.source import Missing, SourceRef
from reconciler.api.stat_cache import StatCache
from reconciler.sources.converted import Converted, ConvertedAdapters
from reconciler.sources.gateway_runtime import build_gateway_runtime, unsupported
from reconciler.sources.remote import Fetched, missing_for
from reconciler.sources.runtime import build_runtime
from reconciler.sources.secrets import read_secrets
from serving.catalogue import Expectation
from serving.preflight import READ

Fetch = Callable[[Sequence[Loaded]], Awaitable[Fetched]]


@dataclass(frozen=True)
class Snapshot:
    """The content of the disk now: the documents, the digests of the folders they name, adapters'
    ranks, the serving runtime, the sources fetched from elsewhere, and the evaluations by file.

    unfit: the adapters that a service cannot serve, by service and folder. They are not published;
        the version before one of them goes on.
    gateway: the runtime of gateways; None if no document asks for one.
    secrets: the digests of values, never the values.
    """

    manifest: Manifest
    trees: dict[Path, Tree]
    ranks: dict[Path, int]
    runtime: Tree
    fetched: Fetched
    evaluations: dict[Path, tuple[Expectation, ...]]
    unfit: dict[tuple[str, Path], Unfit] = field(default_factory=dict)
    gateway: Tree | Missing | None = None
    secrets: dict[tuple[str, str], str | Missing] = field(default_factory=dict)
    converted: Converted = field(default_factory=dict)


class DocumentSource:
    """Reads `files`; `cache` keeps hashes of unchanged files and the built runtime. With `within`,
    a checkout that somebody else writes, the documents may name no folder outside of it. The values
    of secrets go into `values` alone.
    """

    def __init__(
        self,
        files: Sequence[Path],
        cache: Path,
        within: Path | None = None,
        values: SecretValues | None = None,
    ) -> None:
        self.files = list(files)
        self.values = values or SecretValues()
        self._secrets: dict[tuple[str, str], str | Missing] = {}
        self._within = within
        self.cache = cache
        self.stats = StatCache(cache / "hashes.db")
        self._trees: dict[Path, tuple[Hashable, Tree]] = {}
        self._converted = ConvertedAdapters(cache, self.stats)
        self._read: dict[Path, ReadFile] = {}
        self._doubted = False
        self._spare: TemporaryDirectory[str] | None = None

    async def read(self, fetch: Fetch) -> Snapshot:
        """The snapshot of this moment; `fetch` brings what is not on this machine.

        Raises:
            ManifestError: documents or folders cannot be used; every problem has a place.
        """
        manifest = await asyncio.to_thread(self._load)
        return await asyncio.to_thread(self._digest, manifest, await fetch(manifest.documents))

    def doubt(self) -> None:
        """Read the content of all documents at the next reading, whatever their stamps say."""
        self._doubted = True

    def _load(self) -> Manifest:
        if self._doubted:
            self._doubted = False
            for file, known in self._read.items():
                self._read[file] = replace(known, stamp=None)
        if self._within is None:
            return load(self.files, self._read)
        # Resolved once, so that all files are of one commit: the link to it may move meanwhile.
        files, root = [file.resolve() for file in self.files], self._within.resolve()
        manifest = load(files)
        outside = [
            one.problem(path, f"{named} is outside the repository", "put it into the repository")
            for one in manifest.documents
            for path, named in (*one.folders(manifest.stamps), *one.files(), *one.secret_files())
            if not named.resolve().is_relative_to(root)
        ]
        if outside:
            raise ManifestError(outside)
        return manifest

    def _digest(self, manifest: Manifest, fetched: Fetched) -> Snapshot:
        trees, problems = self._digest_all(manifest)
        evaluations = {file: read_evaluation(file, problems) for file in manifest.files}
        if problems:
            raise ManifestError(problems)
        fetched, found = self._digest_fetched(fetched, manifest.stamps)
        for gone in self._trees.keys() - trees.keys() - found.keys():
            del self._trees[gone]
        ranks, refused = _judged(manifest, fetched.folders, trees | found)
        runtime = self._runtime(build_runtime)
        gateway, secrets = self._gateway(manifest.documents), self._read_secrets(manifest)
        return Snapshot(
            manifest,
            trees | found,
            ranks,
            runtime,
            fetched,
            evaluations,
            refused,
            gateway,
            secrets,
            self._converted.of(manifest, fetched.folders, trees | found, ranks),
        )

    def _digest_all(self, manifest: Manifest) -> tuple[dict[Path, Tree], list[Problem]]:
        """Digest all local folders. Of an adapter's folder only the files that a replica reads
        count, so that a trainer's next checkpoint is no new version.
        """
        trees: dict[Path, Tree] = {}
        problems = []
        adapters, stamps = manifest.adapter_folders, manifest.stamps
        faulty = {(fault.service, fault.folder) for fault in manifest.faults}
        for loaded, path, folder in manifest.places:
            # What is not published is not hashed: it may be a model of 15 GiB in an adapter's
            # place.
            is_adapter = path[:2] == ("spec", "adapters")
            faulty_here = is_adapter and (loaded.document.metadata.name, folder) in faulty
            if folder not in trees and not faulty_here:
                only = READ if folder in adapters else ()
                try:
                    trees[folder] = self._tree(folder, only, stamps.of(folder))
                except TreeError as error:
                    what = f"the folder cannot be published: {error}"
                    problems.append(loaded.problem(path, what))
        return trees, problems

    def _tree(self, folder: Path, only: tuple[str, ...], stamp: Hashable | None) -> Tree:
        """The folder's tree, which is not listed again while the folder has the same stamp."""
        known, token = self._trees.get(folder), (only, stamp)
        if known is not None and stamp is not None and known[0] == token:
            return known[1]
        tree = digest_tree(folder, self.stats, only=only)
        self._trees[folder] = (token, tree)
        return tree

    def _read_secrets(self, manifest: Manifest) -> dict[tuple[str, str], str | Missing]:
        """Read the values, and keep those of the last reading too: a write may be using them."""
        before, self._secrets = self._secrets, read_secrets(manifest.documents, self.values)
        asked = (*before.values(), *self._secrets.values())
        self.values.keep_only(each for each in asked if isinstance(each, str))
        return self._secrets

    def _runtime(self, build: Callable[[Path], Path]) -> Tree:
        """The runtime's tree. A full cache must not prevent every service from being published."""
        try:
            folder = build(self.cache)
        except OSError:
            self._spare = self._spare or TemporaryDirectory(prefix="moorage-runtime-")
            folder = build(Path(self._spare.name))
        return digest_tree(folder, self.stats)

    def _gateway(self, documents: Sequence[Loaded]) -> Tree | Missing | None:
        asked = [
            loaded.document.spec.gateway
            for loaded in documents
            if isinstance(loaded.document, Environment)
        ]
        if not any(asked):
            return None
        return unsupported() or self._runtime(build_gateway_runtime)

    def _digest_fetched(
        self, fetched: Fetched, stamps: PathStamps
    ) -> tuple[Fetched, dict[Path, Tree]]:
        """Digest the fetched folders. One that cannot be read becomes missing, which concerns only
        the services that name it.
        """
        trees, folders, missing = {}, dict(fetched.folders), dict(fetched.missing)
        for ref, folder in fetched.folders.items():
            try:
                trees[folder] = self._tree(folder, READ, stamps.of(folder))
            except (TreeError, OSError) as error:
                del folders[ref]
                missing[ref] = missing_for(ref, error)
        return replace(fetched, folders=folders, missing=missing), trees


def _judged(
    manifest: Manifest, folders: Mapping[SourceRef, Path], trees: Mapping[Path, Tree]
) -> tuple[dict[Path, int], dict[tuple[str, Path], Unfit]]:
    """The LoRA rank of each adapter, and the adapters that a service cannot serve. `load` has
    judged the local ones, so for these this reads a cache.
    """
    said: dict[tuple[str, Path], list[str]] = {}
    for fault in manifest.faults:
        said.setdefault((fault.service, fault.folder), []).append(str(fault.problem))
    ranks: dict[Path, int] = {}
    refused: dict[tuple[str, Path], Unfit] = {}
    for loaded in manifest.documents:
        if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
            continue
        name, environment = loaded.document.metadata.name, loaded.document.spec.environment
        local = dict(loaded.folders(manifest.stamps))
        model = local.get(("spec", "model", "source"))
        for path, source in loaded.sources():
            ref = SourceRef.of(environment, source, name)
            folder = local.get(path) or folders.get(ref)
            if path[:2] != ("spec", "adapters") or folder is None:
                continue
            looked_at = (folder, *([model] if model else ()))
            found = loaded.remembered(
                f"fit {path}", manifest.stamps.of_all(looked_at), partial(fit, folder, loaded)
            )
            # An adapter without a tree could not be read when the trees were made.
            if folder in trees and not found.problems:
                ranks[folder] = found.rank
                continue
            why = said.get((name, folder)) or [f"{ref} is not served: {'; '.join(found.problems)}"]
            refused[name, folder] = unfit(loaded, "; ".join(why))
    return ranks, refused
