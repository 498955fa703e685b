"""A document together with where it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from reconciler.api.documents import AnyDocument
from reconciler.api.path_stamps import PathStamps
from reconciler.api.problems import Problem
from reconciler.api.source import SourceKind, parse_source
from reconciler.api.yaml_node import Node

Steps = tuple[str | int, ...]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Loaded:
    """One valid document. Equal when document and file are: positions are for messages only."""

    document: AnyDocument
    file: Path
    node: Node = field(compare=False, repr=False)
    _kept: dict[str, tuple[Hashable, Any]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def line(self) -> int:
        return self.node.position.line

    @property
    def column(self) -> int:
        return self.node.position.column

    @cached_property
    def base_dir(self) -> Path:
        """The absolute folder that relative sources start from. Links stay: a mounted ConfigMap
        swaps them.
        """
        return self.file.absolute().parent

    @cached_property
    def digests(self) -> tuple[str, str]:
        """The digests of the document and of its spec. Made once: a save reads a thousand documents
        again, of which one has changed.
        """
        body = self.document.model_dump(mode="json", by_alias=True)
        return _sha256([str(self.base_dir), body]), _sha256(body["spec"])

    def position(self, path: Steps, *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value at `path` (camel case, as written), or of its key; else of
        the nearest thing above it.
        """
        return self.node.find(path, key=key)

    def problem(self, path: Steps, message: str, hint: str = "", *, key: bool = False) -> Problem:
        return Problem(self.file, *self.position(path, key=key), message, hint)

    def folder(self, source: str) -> Path | None:
        """The local folder that `source` means, absolute and resolved; None for `share://` and
        `hf://`.
        """
        return local_folder(self.base_dir, source)

    def sources(self) -> tuple[tuple[Steps, str], ...]:
        """Every source of the document with its path in it."""
        return self._sources

    def folders(self, stamps: PathStamps | None = None) -> tuple[tuple[Steps, Path], ...]:
        """The local folders among the sources, resolved as of now, or as of `stamps`."""
        known = stamps or PathStamps()
        return self.remembered(
            "folders",
            known,
            lambda: tuple((path, known.resolve(folder)) for path, folder in self._folders),
        )

    def files(self) -> tuple[tuple[Steps, Path], ...]:
        """The local files that the document names besides its folders, absolute: evaluations."""
        return self._files

    def secret_files(self) -> tuple[tuple[Steps, Path], ...]:
        """The local files that hold the document's secrets, absolute."""
        return self._secret_files

    def remembered(self, what: str, token: Hashable | None, find: Callable[[], Found]) -> Found:
        """`find()`, not repeated while `token` stays the same. None is the token of what may change
        unseen.
        """
        known = self._kept.get(what)
        if known is not None and token is not None and known[0] == token:
            return cast(Found, known[1])
        found = find()
        self._kept[what] = (token, found)
        return found

    # A document that a save left as it was is asked for these a thousand times.

    @cached_property
    def _sources(self) -> tuple[tuple[Steps, str], ...]:
        return tuple(written_sources(self.node))

    @cached_property
    def _folders(self) -> tuple[tuple[Steps, Path], ...]:
        parsed = ((path, parse_source(text)) for path, text in self._sources)
        return tuple(
            (path, self.base_dir / source.path)
            for path, source in parsed
            if source.kind is SourceKind.FOLDER
        )

    @cached_property
    def _files(self) -> tuple[tuple[Steps, Path], ...]:
        return self._named(self._evaluations())

    @cached_property
    def _secret_files(self) -> tuple[tuple[Steps, Path], ...]:
        listed = self.node.at(("spec", "secrets"))
        count = len(listed.items) if listed else 0
        return self._named(
            ("spec", "secrets", index, "valueFrom", "file") for index in range(count)
        )

    def _named(self, paths: Iterator[Steps]) -> tuple[tuple[Steps, Path], ...]:
        found = ((path, self.node.at(path)) for path in paths)
        return tuple(
            (path, local_file(self.base_dir, node.scalar))
            for path, node in found
            if node and isinstance(node.scalar, str)
        )

    def _evaluations(self) -> Iterator[Steps]:
        adapters = self.node.at(("spec", "adapters"))
        for index in range(len(adapters.items) if adapters else 0):
            yield "spec", "adapters", index, "evaluation"
            yield "spec", "adapters", index, "canary", "evaluation"
        steps = self.node.at(("spec", "rollout", "steps"))
        for index in range(len(steps.items) if steps else 0):
            yield "spec", "rollout", "steps", index, "evaluation"


def local_folder(base: Path, source: str) -> Path | None:
    """The local folder that `source` means in a document of the folder `base`, absolute and
    resolved; None for `share://` and `hf://`.
    """
    parsed = parse_source(source)
    return (base / parsed.path).resolve() if parsed.kind is SourceKind.FOLDER else None


def local_file(base: Path, text: str) -> Path:
    """The file that a document of the folder `base` names; one that was written on Windows means
    the same file.
    """
    return base / text.replace("\\", "/")


def written_sources(node: Node) -> Iterator[tuple[Steps, str]]:
    """The sources in a service as written, whether or not the rest of it is valid."""
    paths: list[Steps] = [("spec", "model", "source"), ("spec", "code")]
    for name in ("adapters", "mounts"):
        listed = node.at(("spec", name))
        for index in range(len(listed.items) if listed else 0):
            paths += [("spec", name, index, "source"), ("spec", name, index, "canary", "source")]
    for path in paths:
        found = node.at(path)
        if found and isinstance(found.scalar, str):
            yield path, found.scalar


def _sha256(body: object) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
