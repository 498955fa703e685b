"""`moorage diff`: the loop's own comparison of what was asked with what Azure says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    documents_of,
    manifest_of,
    settings_of,
)
from reconciler.cli.exits import CommandError, Exit, words
from reconciler.cli.output.envelope import Output, check_output, print_bare, print_value
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from reconciler.api.kinds import Kind
    from reconciler.cli.drift import Drift
    from reconciler.engine.diff import Comparison
    from reconciler.engine.external import Change
    from reconciler.engine.plan import PlanLine

_LONGEST = 16 * 2**20  # bytes of a body; Resource Manager takes 4 MiB


def diff(
    what: Annotated[
        str,
        typer.Argument(
            help="A document's name or KIND/NAME; with --asked and --found container-app,"
            " environment, environment-storage, storage-account, file-share, log-analytics,"
            " resource-group or job.",
            metavar="DOCUMENT|KIND",
        ),
    ],
    asked: Annotated[
        Path | None,
        typer.Option(
            "--asked", help="The body of a PUT or PATCH, as JSON; - is stdin.", metavar="FILE"
        ),
    ] = None,
    found: Annotated[
        Path | None,
        typer.Option("--found", help="The body that a GET answers with.", metavar="FILE"),
    ] = None,
    file: Files = None,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 if anything differs.")
    ] = False,
) -> None:
    """Compare a document with Azure, and change nothing. With --asked and --found it
    compares a request with an answer, as the daemon does, and reads those two files alone.
    """
    as_json = check_output(output)
    if asked and found:
        differs = _of_bodies(what, asked, found, as_json=as_json)
    elif asked or found:
        raise CommandError("Give both --asked and --found, or neither.", Exit.INVALID)
    else:
        differs = _of_document(what, file, target, state_dir, as_json=as_json)
    if detailed_exitcode and differs:
        raise typer.Exit(Exit.PENDING)


def _of_bodies(kind: str, asked: Path, found: Path, *, as_json: bool) -> bool:
    from reconciler.engine.diff import compare
    from reconciler.kinds import rules_of

    what = _kind_of(kind)
    if str(asked) == str(found) == "-":
        raise CommandError("Only one of --asked and --found can be the input.", Exit.INVALID)
    comparison = compare(_body(asked, what), _body(found, what), rules_of(what))
    if as_json:
        print_bare(_as_value(comparison))
    else:
        _show(comparison)
    return bool(comparison.changes)


def _of_document(
    name: str, file: Files, target: Target, state_dir: StateDir, *, as_json: bool
) -> bool:
    """The lines of a plan that are the document's, told as differences."""
    from reconciler.cli.drift import documents_named, look

    wanted = documents_named(name, manifest_of(file))
    files = documents_of(file)
    settings = settings_of(target, state_dir, files)
    drift = asyncio.run(look(settings, files, wanted))
    stuck = [line for line in drift.lines if line.action in ("wait", "refuse") or line.held]
    problems = [f"{line.key}: {line.problem}" for line in stuck]
    changes = [each for line in drift.lines for each in differences(line, drift)]
    if as_json:
        value = {"changes": changes, "problems": problems, "activityLog": drift.unread or None}
        print_value("Diff", value, drift.subject)
    else:
        show_document(drift, problems)
    return bool(changes)


def differences(line: PlanLine, drift: Drift) -> Iterator[dict[str, Any]]:
    """What differs of one object, as JSON, see docs/status.md."""
    from reconciler.cli.writers import last_write_value

    told = drift.told.get(line.key)
    common = {
        "lastWrite": last_write_value(line.last_write),
        "changedBy": [asdict(each) for each in told.writes] if told else [],
    }
    for change in fields_of(line):
        yield {
            "object": str(line.key),
            "path": change.path,
            "asked": change.after,
            "found": change.before,
            **common,
        }


def fields_of(line: PlanLine) -> list[Change]:
    """What differs, command lines flag by flag; an empty path where the whole object is missing."""
    from reconciler.engine.arguments import by_flag
    from reconciler.engine.external import Change

    if line.missing:
        return [Change("", None, "(present)")]
    return [flag for each in line.changes for flag in by_flag(each)]


def show_document(drift: Drift, problems: list[str]) -> None:
    """For people: each object, who wrote to it, and its fields."""
    from reconciler.cli.output.field_lines import field_lines
    from reconciler.cli.output.layout import hang, terminal_width
    from reconciler.cli.writers import writer_lines

    drift.subject.show()
    width = terminal_width()
    for line in drift.lines:
        fields = fields_of(line)
        if not fields:
            continue
        print(f"- {line.key}   does not exist" if line.missing else f"~ {line.key}")
        for text in writer_lines(drift.told.get(line.key), line.last_write):
            print(*hang("    ", text, width), sep="\n")
        for change in fields:
            if change.path:
                print(*field_lines(change, width), sep="\n")
    for problem in problems:
        say(f"? {problem}")
    if drift.unread:
        say(f"? the Activity Log cannot be read, so only the last writer is named: {drift.unread}")
    print(_counted(drift))


def _counted(drift: Drift) -> str:
    missing = sum(line.missing for line in drift.lines)
    fields = sum(len(fields_of(line)) for line in drift.lines) - missing
    counts = (
        f"{fields} {'field differs' if fields == 1 else 'fields differ'}" if fields else "",
        f"{missing} {'object is' if missing == 1 else 'objects are'} missing" if missing else "",
    )
    return ", ".join(filter(None, counts)) or "nothing differs"


def _kind_of(name: str) -> Kind:
    from reconciler.api.kinds import Kind

    kinds = {kind.module.replace("_", "-"): kind for kind in Kind if kind.arm}
    if name not in kinds:
        raise CommandError(f"{name} is no kind to compare: {', '.join(kinds)}.", Exit.INVALID)
    return kinds[name]


def _body(path: Path, kind: Kind) -> dict[str, Any]:
    from reconciler.cli.json_body import BodyError, body_of
    from reconciler.cli.resource_body import resource_of

    try:
        # A pipe counts as a file here: a shell makes one of `<(az containerapp show ...)`.
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise CommandError(f"{path} is longer than {_LONGEST >> 20} MiB.", Exit.INVALID)
        # PowerShell 5 writes UTF-16 into what `>` names.
        return resource_of(body_of(data.decode(json.detect_encoding(data))), kind)
    except UnicodeDecodeError:
        raise CommandError(f"{path} is no Unicode text.", Exit.INVALID) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {words(error)}", Exit.INVALID) from None
    except BodyError as error:
        raise CommandError(f"{path}:{error}", Exit.INVALID) from None


def _as_value(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON, see docs/status.md."""
    return {
        "changes": [
            {"path": change.path, "asked": change.after, "found": change.before}
            for change in comparison.changes
        ],
        "suppressed": [
            {"path": each.path, "asked": each.asked, "found": each.found, "class": str(each.why)}
            for each in comparison.suppressed
        ],
    }


def _show(comparison: Comparison) -> None:
    for change in comparison.changes:
        say(f"~ {change}")
    for each in comparison.suppressed:
        say(f"  {each.path}: {each.why}")
    counts = f"{len(comparison.changes)} changed", f"{len(comparison.suppressed)} suppressed"
    say(", ".join(counts) if comparison.changes else f"nothing differs; {counts[1]}")
