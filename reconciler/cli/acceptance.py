"""Decides what `moorage accept` may write: each difference goes back to the field that decides it,
the changed document is checked, and the plan is made again with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.document_file import DocumentFile
from reconciler.cli.drift import full_name, is_resource, look_with
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.foresight import planning

if TYPE_CHECKING:
    from reconciler.api.kinds import Kind
    from reconciler.api.loaded import Loaded
    from reconciler.cli.drift import Drift
    from reconciler.cli.output.subject import Subject
    from reconciler.daemon import Daemon
    from reconciler.settings import Settings


_ABSENT = "it does not exist, and no field says that: remove the document, or have it created"


@dataclass(frozen=True)
class Taken:
    """A difference that goes into the document, at `steps`."""

    object: str
    path: str
    steps: tuple[str, ...]
    value: Any
    found: Any  # as the difference shows it


@dataclass(frozen=True)
class Refused:
    """A difference that cannot."""

    object: str
    path: str
    reason: str


@dataclass(frozen=True)
class Acceptance:
    """What goes into `file`, what cannot, and what will differ after it."""

    file: DocumentFile
    subject: Subject
    taken: tuple[Taken, ...]
    refused: tuple[Refused, ...]
    remaining: tuple[str, ...] = ()


async def decide(
    settings: Settings, files: Sequence[Path], document: Loaded, paths: Sequence[str]
) -> Acceptance:
    """Look at what differs, and make the text that accepts it; writes nothing.

    Raises:
        CommandError: one of `paths` is no difference, or the changed document is not valid.
    """
    file = DocumentFile.read(document.file)
    async with planning(settings, files) as (daemon, subject):
        drift = await look_with(daemon, subject, [document])
        chosen = _chosen([*_differences(drift)], paths, document)
        taken, refused = _sorted_out(chosen, drift, document)
        if not paths:
            refused += [
                Refused(str(line.key), "", _ABSENT)
                for line in drift.lines
                if line.missing and is_resource(line.key)
            ]
        while taken:
            changed = _change(file, document, taken)
            remaining = await _remaining(daemon, changed, document)
            stays = [each for each in taken if _stays(each, remaining)]
            if not stays:
                return Acceptance(changed, subject, tuple(taken), tuple(refused), tuple(remaining))
            why = "the document cannot say it alone: other fields decide it too"
            refused += [Refused(each.object, each.path, why) for each in stays]
            taken = [each for each in taken if each not in stays]
    return Acceptance(file, subject, (), tuple(refused))


def _stays(taken: Taken, remaining: Mapping[str, Any]) -> bool:
    """Whether the document still asks for something else there. That may differ from what serves: a
    revision of somebody else without traffic is reported, and is removed when the difference is
    accepted.
    """
    path = f"{taken.object} {taken.path}"
    return path in remaining and remaining[path] != taken.found


def where(steps: Sequence[str]) -> str:
    """A path in a document, for people."""
    return ".".join(steps)


@dataclass(frozen=True)
class _Difference:
    object: str
    kind: str
    path: str
    key: Any
    found: Any


def _differences(drift: Drift) -> Iterator[_Difference]:
    from reconciler.engine.arguments import by_flag

    for line in drift.lines:
        if line.key in drift.found:
            for change in (flag for each in line.changes for flag in by_flag(each)):
                yield _Difference(
                    str(line.key), line.key.kind, change.path, line.key, change.before
                )


def _chosen(
    found: Sequence[_Difference], paths: Sequence[str], document: Loaded
) -> list[_Difference]:
    if not paths:
        return [*found]
    chosen: list[_Difference] = []
    for path in paths:
        fitting = [each for each in found if _fits(each, path, document)]
        if not fitting:
            known = "".join(f"\n  {each.path}" for each in found) or " nothing"
            raise CommandError(
                f"{path} does not differ in {full_name(document)}. What differs:{known}",
                Exit.INVALID,
            )
        chosen += [each for each in fitting if each not in chosen]
    return chosen


def _fits(each: _Difference, path: str, document: Loaded) -> bool:
    from reconciler.composition.inverse import NoFieldError, field_of, service_kind

    if each.path == path or each.path.startswith((f"{path}.", f"{path}[")):
        return True
    try:
        field = field_of(_kind(each), each.path, service_kind(document.node.plain()))
    except NoFieldError:
        return False
    return where(field.path) == path or where(field.path).startswith(f"{path}.")


def _sorted_out(
    chosen: Sequence[_Difference], drift: Drift, document: Loaded
) -> tuple[list[Taken], list[Refused]]:
    from reconciler.composition.inverse import NoFieldError, accepted, field_of, service_kind

    written = document.node.plain()
    of = service_kind(written)
    taken: list[Taken] = []
    refused: list[Refused] = []
    for each in chosen:
        try:
            field = field_of(_kind(each), each.path, of)
            said = _with_all(written, taken)
            steps, value = accepted(field, each.path, drift.found[each.key], said)
        except NoFieldError as error:
            refused.append(Refused(each.object, each.path, str(error)))
        else:
            taken.append(Taken(each.object, each.path, steps, value, each.found))
    return taken, refused


def _with_all(written: Any, taken: Sequence[Taken]) -> Any:
    """The document with everything accepted so far, because two entries of one list add up."""
    from reconciler.api.yaml_edit import with_value

    for each in taken:
        written = with_value(written, each.steps, each.value)
    return written


def _change(file: DocumentFile, document: Loaded, taken: Sequence[Taken]) -> DocumentFile:
    from reconciler.api.yaml_edit import EditError, edited

    try:
        changes = {each.steps: each.value for each in taken}
        return replace(file, new=edited(file.text, _number(file, document), changes))
    except EditError as error:
        message = f"{file.path}:{error.line}: {error.message}"
        raise CommandError(message, Exit.INVALID) from None


def _number(file: DocumentFile, document: Loaded) -> int:
    """Which of the file's documents it is."""
    from reconciler.api.yaml_edit import plain

    for number, each in enumerate(plain(file.text)):
        if each == document.node.plain():
            return number
    raise CommandError(f"{file.path} was changed meanwhile: nothing is written. Try again.")


async def _remaining(daemon: Daemon, changed: DocumentFile, document: Loaded) -> dict[str, Any]:
    """What of the document still differs when the file is as changed, and what is asked there."""
    from reconciler.api.manifest import ManifestError, parse
    from reconciler.engine.arguments import by_flag

    read = daemon.intake.snapshot
    there = [
        each for each in (read.manifest.documents if read else ()) if not _same_file(each, document)
    ]
    try:
        new = parse(changed.path, changed.new.encode(), there)
    except ManifestError as error:
        text = (
            f"With what is found the document would not be valid, so nothing is written:\n{error}"
        )
        raise CommandError(text, Exit.INVALID) from None
    daemon.intake.suppose([*there, *new])
    lines = [line for line in await daemon.controller.plan() if line.document == _ref(document)]
    return {
        f"{line.key} {flag.path}": flag.after
        for line in lines
        for each in line.changes
        for flag in by_flag(each)
    }


def _same_file(one: Loaded, other: Loaded) -> bool:
    return one.file.absolute() == other.file.absolute()


def _ref(document: Loaded) -> Any:
    from reconciler.engine.external import DocumentRef

    return DocumentRef(document.document.kind, document.document.metadata.name)


def _kind(each: _Difference) -> Kind:
    from reconciler.api.kinds import Kind

    return next(kind for kind in Kind if kind == each.kind)
