"""`moorage accept`: write what somebody changed in Azure into the document, so that it stays.
`composition.inverse` says which field that is, `cli.acceptance` decides, `api.yaml_edit` writes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    Yes,
    ask,
    documents_of,
    manifest_of,
    settings_of,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from reconciler.cli.acceptance import Acceptance


def accept(
    document: Annotated[
        str, typer.Argument(help="A document's name or KIND/NAME.", metavar="DOCUMENT")
    ],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these: paths as `moorage diff` prints them, or fields of the document."
            " All that differs when left out.",
            metavar="PATH",
        ),
    ] = None,
    file: Files = None,
    target: Target = None,
    state_dir: StateDir = None,
    yes: Yes = False,
    output: Output = "text",
) -> None:
    """Write what somebody changed in Azure into the document. Shows the change of the file, and
    asks before it writes. Writes nothing to Azure.
    """
    from reconciler.cli.acceptance import decide
    from reconciler.cli.drift import documents_named, full_name

    as_json = check_output(output)
    wanted = documents_named(document, manifest_of(file))
    if len(wanted) > 1:
        both = " and ".join(map(full_name, wanted))
        raise CommandError(f"{document} names {both}: write one of these.", Exit.INVALID)
    files = documents_of(file)
    settings = settings_of(target, state_dir, files)
    found = asyncio.run(decide(settings, files, wanted[0], paths or []))
    if not as_json:
        _show(found)
    writes = bool(found.taken) and (yes or not as_json)
    if writes:
        if not yes:
            ask("Write this?", "Nothing is written.")
        found.file.write()
    if as_json:
        print_value("Acceptance", {**_as_value(found), "written": writes}, found.subject)
    elif writes:
        print(f"written: {found.file.path}")
    if found.taken and not writes:
        raise typer.Exit(Exit.HUMAN)
    if found.refused and not found.taken:
        raise typer.Exit(Exit.FAILED)


def _show(found: Acceptance) -> None:
    from reconciler.cli.acceptance import where

    found.subject.show()
    for each in found.taken:
        print(f"= {where(each.steps)}")
        print(f"      {each.object} {each.path}")
    for one in found.refused:
        print(f"! {one.object} {one.path}".rstrip())
        say(f"      stays as it is in the document: {one.reason}")
    print(*found.file.difference(), sep="", end="")
    if found.remaining:
        print("What differs after that:")
        for path in found.remaining:
            print(f"      {path}")
    if not (found.taken or found.refused):
        print("nothing differs")


def _as_value(found: Acceptance) -> dict[str, Any]:
    """As JSON, see docs/status.md."""
    from reconciler.cli.acceptance import where

    return {
        "file": str(found.file.path),
        "accepted": [
            {"object": each.object, "path": each.path, "field": where(each.steps)}
            for each in found.taken
        ],
        "refused": [
            {"object": each.object, "path": each.path, "reason": each.reason}
            for each in found.refused
        ],
        "remaining": list(found.remaining),
    }
