"""`moorage explain`: what a reason of a condition or an event means, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say

Word = Annotated[
    str, typer.Argument(help="A reason, as `moorage status` shows it.", metavar="REASON")
]


def explain(reason: Word, output: Output = "text") -> None:
    """Say what a reason means and what to do about it."""
    from reconciler.api.reasons import AZURE, Reason
    from reconciler.arm.errors import TABLE, explain_code

    as_json = check_output(output)
    ours = {str(each).casefold(): each for each in Reason}
    if found := ours.get(reason.casefold()):
        _say(as_json, str(found), found.cause, found.remedy or "nothing")
        return
    code = reason.removeprefix(AZURE)
    if told := explain_code(code):
        loop, remedy = told
        _say(as_json, f"{AZURE}{code}", f"Azure's own code; the loop {loop}", remedy)
        return
    raise CommandError(_unknown(reason, [*map(str, Reason), *TABLE]), Exit.INVALID)


def _say(as_json: bool, reason: str, cause: str, remedy: str) -> None:
    if as_json:
        print_value("Explanation", {"reason": reason, "cause": cause, "remedy": remedy})
        return
    say(f"{reason}: {cause}")
    say(f"what to do: {remedy}")


def _unknown(reason: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(reason, known, n=3)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{reason} is no reason that Moorage knows.{meant} docs/conditions.md lists them all."
