"""Files -> validated documents, or every problem in them with file, line and column. Never anything
else.

Reads the manifest's files and looks at the local folders they name; blocking, so that a daemon
calls it in a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from reconciler.api.adapters import AdapterFault, adapter_faults, room_problems
from reconciler.api.documents import DOCUMENTS, AnyDocument
from reconciler.api.evaluation import evaluation_problems
from reconciler.api.explain import explain
from reconciler.api.gateway_references import gateway_problems
from reconciler.api.loaded import Loaded, Steps, written_sources
from reconciler.api.manifest_files import manifest_files, read_file
from reconciler.api.models import model_problems
from reconciler.api.path_stamps import PathStamps
from reconciler.api.problems import ManifestError, Problem
from reconciler.api.references import Declared, reference_problems
from reconciler.api.source import SourceKind, parse_source
from reconciler.api.yaml_node import Node, NodeKind
from reconciler.api.yaml_tree import read_documents

__all__ = ["Loaded", "Manifest", "ManifestError", "Problem", "ReadFile", "load", "parse"]


@dataclass(frozen=True)
class Manifest:
    """Everything that the user wants, in the order of the files. `digest` changes only if a
    document does. `faults` are the local adapters that their services cannot serve; the rest runs
    without them. `stamps` are those of the paths that the documents name, as of this reading.
    """

    documents: tuple[Loaded, ...]
    digest: str
    faults: tuple[AdapterFault, ...] = ()
    stamps: PathStamps = field(default_factory=PathStamps, compare=False, repr=False)

    def without_faults(self) -> Self:
        """The manifest itself, for a caller that wants all of it served.

        Raises:
            ManifestError: an adapter cannot be served.
        """
        if self.faults:
            raise ManifestError(fault.problem for fault in self.faults)
        return self

    @cached_property
    def places(self) -> tuple[tuple[Loaded, Steps, Path], ...]:
        """Each local folder that a document names, absolute and resolved."""
        return tuple(
            (loaded, path, folder)
            for loaded in self.documents
            for path, folder in loaded.folders(self.stamps)
        )

    @cached_property
    def folders(self) -> frozenset[Path]:
        """The local folders that documents name: what must be watched besides the files."""
        return frozenset(folder for _, _, folder in self.places)

    @cached_property
    def adapter_folders(self) -> frozenset[Path]:
        """The folders that are named only as adapters: a replica reads just two of their files."""
        whole = {folder for _, path, folder in self.places if path[:2] != ("spec", "adapters")}
        return self.folders - whole

    @cached_property
    def files(self) -> frozenset[Path]:
        """The local files that documents name, absolute: they must be watched as well."""
        return frozenset(file for loaded in self.documents for _, file in loaded.files())

    @cached_property
    def secret_files(self) -> frozenset[Path]:
        """The local files that hold secrets, absolute: a new value is an edge as well."""
        return frozenset(file for loaded in self.documents for _, file in loaded.secret_files())


@dataclass(frozen=True)
class ReadFile:
    """The result of a file without problems, kept so that the same bytes are not parsed again, nor
    read while the file has the same `stamp`.
    """

    data: bytes
    loaded: tuple[Loaded, ...]
    declared: tuple[Declared, ...]
    stamp: Hashable | None


class Judgement(NamedTuple):
    """What is wrong with the folders and files that a document names."""

    problems: tuple[Problem, ...]
    faults: tuple[AdapterFault, ...]


def load(paths: Sequence[Path], known: dict[Path, ReadFile] | None = None) -> Manifest:
    """Read `paths`, each a YAML file or a folder of them. `known` is the caller's to keep between
    two calls: parsing one small file takes 4 ms, so that with a hundred of them a save would wait.

    Raises:
        ManifestError: with all problems found, not only the first.
    """
    problems: list[Problem] = []
    reading = _Reading(problems, {} if known is None else known)
    files = manifest_files(paths, problems)
    for file in files:
        reading.read(file)
    reading.forget_all_but(files)
    problems += reference_problems(reading.declared)
    problems += gateway_problems(reading.declared)
    for one in reading.declared:
        if one.document is None:  # the others are judged below
            problems += _missing_folders(one)
    judged = [_judge(loaded, reading.stamps) for loaded in reading.loaded]
    problems += (problem for each in judged for problem in each.problems)
    faults = tuple(fault for each in judged for fault in each.faults)
    if problems:  # all that is wrong with a save is told at once
        raise ManifestError([*problems, *(fault.problem for fault in faults)])
    return Manifest(tuple(reading.loaded), _digest(reading.loaded), faults, reading.stamps)


def _judge(loaded: Loaded, stamps: PathStamps) -> Judgement:
    """Judge what the document names, unless that and the document are as they were."""
    named = [folder for _, folder in loaded.folders(stamps)]
    files = [file for _, file in loaded.files()]
    return loaded.remembered(
        "judgement", stamps.of_all([*named, *files]), lambda: _judged_now(loaded)
    )


def _judged_now(loaded: Loaded) -> Judgement:
    kind, name = loaded.document.kind, loaded.document.metadata.name
    declared = Declared(kind, name, loaded.file, loaded.node, loaded.document)
    problems = (
        *_missing_folders(declared),
        *model_problems(loaded),
        *room_problems(loaded),
        *evaluation_problems(loaded),
    )
    return Judgement(problems, tuple(adapter_faults(loaded)))


def parse(file: Path, data: bytes, beside: Sequence[Loaded] = ()) -> tuple[Loaded, ...]:
    """The documents that `data` would be as the bytes of `file`, checked against those of other
    files, `beside`. Folders are not looked at.

    Raises:
        ManifestError: with all problems found.
    """
    problems: list[Problem] = []
    reading = _Reading(problems, {})
    reading.parse(file, data)
    others = (
        Declared(
            each.document.kind, each.document.metadata.name, each.file, each.node, each.document
        )
        for each in beside
    )
    declared = [*reading.declared, *others]
    problems += reference_problems(declared)
    problems += gateway_problems(declared)
    if problems:
        raise ManifestError(problems)
    return tuple(reading.loaded)


def _missing_folders(one: Declared) -> Iterator[Problem]:
    """Sources that should be local folders and are not there; malformed ones have been reported
    already.
    """
    base = one.file.absolute().parent
    for path, text in written_sources(one.node) if one.kind == "InferenceService" else ():
        try:
            source = parse_source(text)
            folder = (base / source.path).resolve()
            exists, is_folder = folder.exists(), folder.is_dir()
        except (ValueError, OSError):
            continue
        if source.kind is SourceKind.FOLDER and not is_folder:
            what = "is not a folder" if exists else "does not exist"
            yield one.problem(path, f"{folder} {what}", _folder_hint(text, base))


@dataclass
class _Reading:
    """What one `load` has found so far; a broken document is still declared, so that nothing else
    blames its absence.
    """

    problems: list[Problem]
    known: dict[Path, ReadFile]
    loaded: list[Loaded] = field(default_factory=list)
    declared: list[Declared] = field(default_factory=list)
    stamps: PathStamps = field(default_factory=PathStamps)

    def read(self, file: Path) -> None:
        known, stamp = self.known.get(file), self.stamps.of(file)
        if known is not None and stamp is not None and known.stamp == stamp:
            self._take(known)
            return
        data = read_file(file, self.problems)
        if data is None:
            return
        if known is not None and known.data == data:
            self.known[file] = replace(known, stamp=stamp)
            self._take(known)
            return
        before = (len(self.problems), len(self.loaded), len(self.declared))
        self.parse(file, data)
        if len(self.problems) == before[0]:
            self.known[file] = ReadFile(
                data, tuple(self.loaded[before[1] :]), tuple(self.declared[before[2] :]), stamp
            )

    def _take(self, known: ReadFile) -> None:
        self.loaded += known.loaded
        self.declared += known.declared

    def forget_all_but(self, files: Sequence[Path]) -> None:
        for gone in self.known.keys() - set(files):
            del self.known[gone]

    def parse(self, file: Path, data: bytes) -> None:
        before = len(self.problems)
        nodes = read_documents(file, data, self.problems)
        if not nodes and len(self.problems) == before:
            self.problems.append(
                Problem(file, 1, 1, "the file holds no documents", "write one, or remove the file")
            )
        for node in nodes:
            self._document(file, node)

    def _document(self, file: Path, node: Node) -> None:
        model = self._model(file, node)
        if model is None:
            return
        plain = node.plain()
        document: AnyDocument | None = None
        try:
            document = model.model_validate(plain, by_alias=True, by_name=False)
        except ValidationError as error:
            self.problems += explain(error, file, node, model)
        else:
            self.loaded.append(Loaded(document, file, node))
        name = plain["metadata"].get("name") if isinstance(plain.get("metadata"), dict) else None
        if isinstance(name, str):
            self.declared.append(Declared(plain["kind"], name, file, node, document))

    def _model(self, file: Path, node: Node) -> type[Any] | None:
        if node.kind is not NodeKind.MAPPING:
            self.problems.append(
                Problem(
                    file,
                    *node.position,
                    "this is not a document",
                    "start with kind: InferenceService",
                )
            )
            return None
        kind = node.entries["kind"][1].scalar if "kind" in node.entries else None
        if isinstance(kind, str) and kind in DOCUMENTS:
            return DOCUMENTS[kind]
        known = " or ".join(DOCUMENTS)
        meant = next((name for name in DOCUMENTS if name.lower() == str(kind).lower()), None)
        what = (
            f"the kind {kind!r} is not known"
            if isinstance(kind, str)
            else "the document's kind is missing"
        )
        self.problems.append(
            Problem(file, *node.find(("kind",)), what, f"write kind: {meant or known}")
        )
        return None


def _folder_hint(text: str, base: Path) -> str:
    if text.count("/") == 1 and not text.startswith((".", "/")):
        return f"for a model on Hugging Face write hf://{text}@revision"
    return f"paths start from {base}, where this file lies"


def _digest(documents: Sequence[Loaded]) -> str:
    digests = sorted(loaded.digests[0] for loaded in documents)
    return hashlib.sha256("".join(digests).encode()).hexdigest()
