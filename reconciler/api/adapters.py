"""The one place where a manifest's adapters are judged: `serving.preflight`, the same check a
replica makes. What one adapter lacks costs that adapter; its service runs without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from reconciler.api.documents import InferenceService
from reconciler.api.engine_flags import MAX_LORA_RANK
from reconciler.api.engine_types import EngineType, engine_type
from reconciler.api.half_floats import half_size, is_wide, overflowing
from reconciler.api.loaded import Loaded, Steps
from reconciler.api.problems import Problem
from serving.catalogue import DISK
from serving.inspection.weights import read_header
from serving.preflight import READ, Findings, check_adapter, takes_lora

_, WEIGHTS = READ
Stamps = tuple[tuple[str, int, int, int], ...]


class Unfit(NamedTuple):
    """Why a service cannot serve the adapter in a folder. `takes_lora` is whether its model takes
    any adapter.
    """

    why: str
    takes_lora: bool = True


class AdapterFault(NamedTuple):
    """What is wrong with the adapter in a local folder that a service names."""

    service: str
    folder: Path
    problem: Problem


def adapter_faults(loaded: Loaded) -> Iterator[AdapterFault]:
    """Adapters in local folders that the engine would refuse, or would take and serve
    garbage from.
    """
    if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
        return
    service, base = loaded.document.metadata.name, loaded.document.spec.model.source
    for path, name, folder in _local_adapters(loaded, loaded.document):
        for problem in fit(folder, loaded).problems:
            hint = (
                "raise engine.args.max-lora-rank or leave it out"
                if "max-lora-rank" in problem
                else f"the model is {base}"
            )
            what = f"the canary of adapter {name!r}" if "canary" in path else f"adapter {name!r}"
            said = loaded.problem(path, f"{what} cannot be served: {problem}", hint)
            yield AdapterFault(service, folder, said)


def room_problems(loaded: Loaded) -> Iterator[Problem]:
    """More adapters than a replica's disk has room for."""
    if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
        return
    sizes, kind = [], engine_type(loaded)
    for _, _, folder in _local_adapters(loaded, loaded.document):
        found = fit(folder, loaded)
        if not found.problems:  # one that is refused takes no room
            sizes.append(half_size(read_header(folder / WEIGHTS)) if kind else found.size)
    needed = sum(sizes) + max(sizes, default=0)  # a new version lies beside the one it replaces
    if needed > DISK:
        what = (
            f"the adapters need {needed / 2**30:.1f} GiB of each replica's disk, the next version"
            " of the largest included"
        )
        yield loaded.problem(
            ("spec", "adapters"),
            what,
            f"{DISK / 2**30:.0f} GiB is what there is: divide them among services",
        )


def adapter_notes(loaded: Loaded) -> Iterator[str]:
    """What a person should know of local adapters that can be served."""
    if isinstance(loaded.document, InferenceService) and loaded.document.spec.model is not None:
        for path, name, folder in _local_adapters(loaded, loaded.document):
            what = f"the canary of adapter {name!r}" if "canary" in path else f"adapter {name!r}"
            notes = (*fit(folder, loaded).notes, *_type_notes(folder, engine_type(loaded)))
            yield from (f"{what}: {note}" for note in notes)


def fit(folder: Path, loaded: Loaded) -> Findings:
    """The adapter in `folder` against the model and the engine of a document that serves one."""
    service = loaded.document
    if not isinstance(service, InferenceService) or service.spec.model is None:
        return Findings(("the document serves no model",))
    args = service.spec.engine.args
    rank = args.get("max-lora-rank", MAX_LORA_RANK)
    tower = bool(args.get("enable-tower-connector-lora"))
    base = loaded.folder(service.spec.model.source)
    known = Path(os.path.realpath(base)).name if base else service.spec.model.source
    return findings(folder, base, rank, tower=tower, known=known)


def unfit(loaded: Loaded, why: str) -> Unfit:
    """An adapter that the document cannot serve because of `why`."""
    service = loaded.document
    model = service.spec.model if isinstance(service, InferenceService) else None
    base = loaded.folder(model.source) if model else None
    return Unfit(why, base is None or takes_lora(base))


def findings(
    folder: Path, base: Path | None, max_rank: int, *, tower: bool = False, known: str = ""
) -> Findings:
    """`check_adapter`, not repeated while neither folder changes. `known` is the base's name."""
    stamps = _stamps(folder), _stamps(base) if base else ()
    return _checked(folder, base, max_rank, tower, known, *stamps)


def _type_notes(folder: Path, kind: EngineType | None) -> Iterator[str]:
    """In which type of floats an adapter is published, if not in its own."""
    tensors = read_header(folder / WEIGHTS) if kind else {}
    if kind is None or not is_wide(tensors):
        return
    before, after = (sum(each.end - each.start for each in tensors.values()), half_size(tensors))
    if name := overflowing(folder / WEIGHTS, kind.half):
        yield (
            f"its weights are published with 32 bits, because values of {ascii(name[:200])[1:-1]}"
            f" are too large for {kind.half}, in which the engine computes: the answers may be"
            " rubbish"
        )
    else:
        yield (
            f"its weights are published in {kind.half}, in which the engine computes:"
            f" {_size(after)} instead of {_size(before)}; the version stays that of the folder"
        )


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 1 << 20 else f"{count / 1024:.0f} KiB"


@lru_cache(maxsize=1024)
def _checked(
    folder: Path,
    base: Path | None,
    max_rank: int,
    tower: bool,
    known: str,
    _folder_stamps: Stamps,
    _base_stamps: Stamps,
) -> Findings:
    return check_adapter(folder, base, max_rank, base_names=(known,), tower=tower)


def _local_adapters(loaded: Loaded, service: InferenceService) -> Iterator[tuple[Steps, str, Path]]:
    for path, source in loaded.sources():
        folder = loaded.folder(source)
        if (
            path[:2] == ("spec", "adapters")
            and isinstance(path[2], int)
            and folder
            and os.path.isdir(folder)  # noqa: PTH112 false for what cannot be looked at
        ):
            yield path, service.spec.adapters[path[2]].name, folder


def _stamps(folder: Path) -> Stamps:
    """What tells a changed folder from an unchanged one without reading it; an unreadable one is
    never remembered as read.
    """
    stamps = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:
            continue
        stamps.append((str(path), status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(stamps)
