"""What a person decided, as messages of conditions say it, and how it is told from a failure."""

from __future__ import annotations

from reconciler.api.reasons import Reason

ASKED = "`moorage rollback` asked for"
BY_HAND = "by hand"
# Said of a person's rollback to a revision that does not start.
WAY_OUT = "Save the earlier document instead, which makes a new revision"


def is_decided(reason: str, message: str) -> bool:
    """Whether a person decided that something else serves than the document asks for, or a canary
    did well: nothing failed, and nothing has to be mended.
    """
    by_person = (ASKED in message or f" {BY_HAND}" in message) and WAY_OUT not in message
    return reason == Reason.PROMOTED or (reason == Reason.ROLLED_BACK and by_person)
