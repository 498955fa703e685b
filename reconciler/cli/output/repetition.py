"""Tells a long cause once. `narrator` prints what a run does, `plan_view` a plan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

REPETITION = 60  # characters of a cause that are not printed again
CAUSE = 600  # characters of a line that are compared
# Where a clause of a message begins and ends.
_BEGINS = re.compile(r"[.;:|] ")
_PLACE = re.compile(r"\S+:\d+$")
_ENDS = re.compile(r"[.;|](?= |$)|: ")


def without_repetition(message: str, told: Iterable[str]) -> str:
    """`message` with a long part that was printed before left out: a cause is told once, although
    the failure, the rollback and the condition all carry it. Only whole clauses are left out.
    """
    begins = [0, *(found.end() for found in _BEGINS.finditer(message))]
    ends = [*(found.start() for found in _ENDS.finditer(message)), len(message)]
    for before in told:
        match = SequenceMatcher(None, before, message[:CAUSE], autojunk=False).find_longest_match()
        until = match.b + match.size
        begin = min((at for at in begins if at >= match.b), default=until)
        end = max((at for at in ends if at <= until), default=0)
        if end - begin >= REPETITION:
            return _as_above(message[:begin].rstrip(" :"), message[end:])
    return message


def _as_above(head: str, rest: str) -> str:
    """A document's file and line at the end of `head` stay beside the words."""
    if place := _PLACE.search(head):
        return f"{head[: place.start()]}as above ({place[0]}){rest}"
    return f"{head} (as above){rest}".strip()
