"""A plan in a file: `moorage plan --out` writes it, `moorage approve FILE` takes it back and
approves it as long as the world is what it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.exits import CommandError, Exit, words

if TYPE_CHECKING:
    from reconciler.cli.foresight import Foreseen
    from reconciler.engine.external import DocumentRef
    from reconciler.engine.store import Store

LONGEST = 64 * 2**20
_COMPARED = ("object", "action", "class", "fields", "version")


@dataclass(frozen=True)
class PlanFile:
    """What was planned: for which target and which set, from which documents."""

    target: str
    owner: str | None
    files: tuple[Path, ...]
    changes: Sequence[Mapping[str, Any]]


def write(path: Path, value: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Keep the plan's JSON; only the owner may read it, because variables are in it."""
    body = {**value, "files": [os.path.abspath(file) for file in files]}  # noqa: PTH100
    text = f"{json.dumps(body, indent=2, default=str)}\n"
    # Renamed when it is whole, so that no half of a plan is left; a pipe or a device is written to.
    scratch = path if path.exists() and not path.is_file() else path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if scratch != path:
            scratch.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {words(error)}", Exit.FAILED) from None


def read(path: Path) -> PlanFile:
    """The plan that `write` kept.

    Raises:
        CommandError: it cannot be read, holds no plan, or another version of Moorage wrote it.
    """
    from reconciler.api.regular_files import read_regular
    from reconciler.cli.output.envelope import API_VERSION

    try:
        body = json.loads(read_regular(path, LONGEST))
        if body["kind"] != "Plan":
            raise ValueError
        if body["apiVersion"] != API_VERSION:
            raise CommandError(
                f"{path} is a plan of another version of Moorage ({body['apiVersion']!r:.40}, and"
                f" this one writes {API_VERSION}). Nothing is approved; plan again.",
                Exit.INVALID,
            )
        files, changes = body["files"], body["changes"]
        if not files or not isinstance(files, list):
            raise TypeError
        owner = body["set"]["id"] if body["set"] else None
        if not all(isinstance(each["object"], str) for each in changes):
            raise TypeError
        paths = tuple(Path(file) for file in files)
        return PlanFile(str(body["target"]), owner, paths, tuple(changes))
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error}", Exit.INVALID) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        text = f"{path} holds no plan; `moorage plan --out FILE` writes one."
        raise CommandError(text, Exit.INVALID) from None


def moved(kept: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each difference between two plans, by object: what would be done otherwise now."""
    before, after = ({each["object"]: _said(each) for each in side} for side in (kept, now))
    names = dict.fromkeys((*before, *after))
    return [
        f"{name}: {difference}"
        for name in names
        for difference in _differences(before.get(name) or {}, after.get(name) or {})
    ]


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """In words. Two plans without a word of difference are the same."""
    if before == after:
        return
    was, is_ = before.get("action", "no-op"), after.get("action", "no-op")
    if was != is_:
        said, done = ("nothing" if each == "no-op" else each for each in (was, is_))
        yield f"the plan said {said}, and now it is {done}"
        return
    fields = [{each["path"]: each for each in side.get("fields") or ()} for side in (before, after)]
    for path in dict.fromkeys((*fields[0], *fields[1])):
        one, other = (side.get(path) for side in fields)
        if one is None:
            yield f"{path} would change too"
        elif other is None:
            yield f"{path} would not change any more"
        elif one != other:
            yield f"{path} would change otherwise"
    if before.get("version") != after.get("version"):
        yield "its document, or a folder that the document names, was changed"
    if before.get("class") != after.get("class"):
        yield f"the plan said {before.get('class')}, and now it is {after.get('class')}"


def _said(change: Mapping[str, Any]) -> Any:
    """What is compared: not the words, which may tell of seconds."""
    if change.get("action") == "no-op":
        return None
    return json.loads(json.dumps({name: change.get(name) for name in _COMPARED}, default=str))


def grant(store: Store, plan: Foreseen, at: float) -> None:
    """Let everything that waits in the plan go ahead, once, and wake a daemon; `at` in seconds
    since 1970.
    """
    from reconciler.sources.decisions import caller, listed, note_decision
    from reconciler.sources.policy import approve_version

    deeds: dict[DocumentRef, list[str]] = {}
    for line in plan.waiting:
        if line.action in ("delete", "release", "replace"):
            store.approve(line.key, "replace" if line.action == "replace" else "delete")
        if version := plan.versions.get(line.document):
            approve_version(store, line.document, version)
        deeds.setdefault(line.document, []).append(f"{line.action} {line.key}")
    for document, of in deeds.items():
        note_decision(store, document, f"approved: {listed(of)}", caller(), at)
    store.put("approvals", str(at))
