"""`moorage doctor`: whether a run can succeed, before its first write. `checkup` has the checks."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    documents_of,
    manifest_of,
    settings_of,
)
from reconciler.cli.exits import Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import Subject, subject_of

if TYPE_CHECKING:
    from reconciler.api.manifest import Manifest
    from reconciler.cli.check_result import CheckResult
    from reconciler.settings import Settings


def doctor(
    file: Files = None,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Check whether a run can succeed, before its first write. It looks at credential, roles,
    providers, regions, names, shared keys, the share's tier and GPU quota. Exit code 4 when a
    person must act first.
    """
    from reconciler.cli.check_result import Grade

    as_json = check_output(output)
    manifest = manifest_of(file)
    files = documents_of(file)
    settings = settings_of(target, state_dir, files, start=True)
    subject = subject_of(settings, files)
    results = asyncio.run(_check(settings, manifest))
    if as_json:
        rows = [asdict(each) for each in results]
        print_value("Checkup", {"checks": rows}, subject)
    else:
        _show(subject, results)
    if any(each.grade is Grade.FAILED for each in results):
        raise typer.Exit(Exit.HUMAN)


async def _check(settings: Settings, manifest: Manifest) -> list[CheckResult]:
    from reconciler.arm.clients import Arm
    from reconciler.cli.checkup import check_all

    async with Arm(settings) as arm:
        return [result async for result in check_all(arm, manifest.documents)]


def _show(subject: Subject, results: list[CheckResult]) -> None:
    from reconciler.cli.check_result import Grade
    from reconciler.cli.output.console import Console
    from reconciler.cli.output.layout import hang, width_of

    styles = dict.fromkeys(Grade, "yellow") | {Grade.OK: "green", Grade.FAILED: "red"}
    console = Console(highlight=False)
    width = width_of(console)
    subject.show()
    for each in results:
        head = f"{each.grade:<8} {each.check:<11} "
        for line in hang(head, each.message, width):
            console.print(line, style=styles[each.grade], markup=False, soft_wrap=True)
        space = f"{'':<8} {'':<11} "
        for name, text in (("effect", each.effect), ("what to do", each.remedy)):
            for line in hang(f"{space}{name}: ", text, width) if text else ():
                console.print(line, markup=False, soft_wrap=True)
        for command in each.command.splitlines():  # each whole, because people copy it
            console.print(f"    {command}", markup=False, soft_wrap=True)
    bad = sum(each.grade is Grade.FAILED for each in results)
    unknown = sum(each.grade is Grade.UNKNOWN for each in results)
    said = f"{bad} of {len(results)} checks failed" if bad else "nothing stands in the way"
    console.print(f"{said}{f', {unknown} not known' if unknown else ''}; nothing was written")
