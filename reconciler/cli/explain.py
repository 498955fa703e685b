"""`moorage explain`: what a reason of a condition or an event means, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say

NEAR = 3  # reasons that are offered for a word that is none
Word = Annotated[
    str, typer.Argument(help="A reason, as `moorage status` shows it.", metavar="REASON")
]


def explain(reason: Word, output: Output = "text") -> None:
    """Say what a reason means and what to do about it."""
    from reconciler.api.reasons import AZURE, Reason
    from reconciler.arm.remedies import explain_code

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
    raise CommandError(_unknown(reason), Exit.INVALID)


def _say(as_json: bool, reason: str, cause: str, remedy: str) -> None:
    if as_json:
        print_value("Explanation", {"reason": reason, "cause": cause, "remedy": remedy})
        return
    say(f"{reason}: {cause}")
    say(f"what to do: {remedy}")


def _unknown(word: str) -> str:
    """The reasons that were meant: that have the word in their name, are spelt alike, or speak of
    it.
    """
    import difflib

    from reconciler.api.reasons import Reason
    from reconciler.arm.errors import TABLE

    names, part = [*map(str, Reason), *TABLE], word.casefold()
    near = [each for each in names if part in each.casefold()]
    near = near or difflib.get_close_matches(word, names, n=NEAR)
    near = near or [str(each) for each in Reason if part in f"{each.cause} {each.remedy}"]
    meant = f" Did you mean {' or '.join(near[:NEAR])}?" if near else ""
    return f"{word} is no reason that Moorage knows.{meant} docs/conditions.md lists them all."
