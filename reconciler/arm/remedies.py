"""What a person can do about a code of Azure's, and what the loop does: for docs/conditions.md, the
page and the commands. `errors` has the table of codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.arm.errors import ITS_OWN, TABLE, Rule, rule_by_spelling, rule_by_status
from reconciler.engine.errors import (
    Busy,
    DecidedElsewhere,
    NotReadyYet,
    ReconcileError,
    RetryableError,
    SlowRetry,
    TerminalError,
    Throttled,
    TransportFailed,
    WaitingForHuman,
)

# What the loop does with each class of error.
LOOP: Mapping[type[ReconcileError], str] = {
    Busy: "waits",
    NotReadyYet: "waits",
    Throttled: "waits as long as Azure asks",
    TransportFailed: "tries again soon",
    RetryableError: "tries again soon",
    SlowRetry: "tries again every minute",
    WaitingForHuman: "waits for a person, and looks again every minute",
    TerminalError: "tries again every five minutes, and at once after an edit",
    DecidedElsewhere: "counts it as failed, and tries again every minute",
}


# What a person does about each class of error, where its code says no more.
REMEDY: Mapping[type[ReconcileError], str] = {
    Busy: "wait",
    NotReadyYet: "wait",
    Throttled: "wait",
    TransportFailed: "wait, or try again; check the network and Azure's service health",
    RetryableError: "wait; if it stays, read the message, which Azure wrote",
    SlowRetry: "wait",
    WaitingForHuman: "remove the cause in the message, which Azure wrote",
    TerminalError: "correct the document by the message, which Azure wrote",
    DecidedElsewhere: "correct the document by the message, which Azure wrote",
}


def explain_code(code: str) -> tuple[str, str] | None:
    """What the loop does about a code of Azure's, and what a person can do; None for a code that is
    treated by its HTTP status.
    """
    rule = TABLE.get(code) or rule_by_spelling(code)
    return (LOOP[rule.kind], _remedy(rule)) if rule else None


def remedy_of_code(code: str) -> str:
    """What a person can do about any code, also one that is in no table."""
    named, own = re.fullmatch(r"Http(\d{3})", code), re.search(ITS_OWN, code)
    status = int(named[1]) if named else 503 if own else 0
    rule = TABLE.get(code) or rule_by_spelling(code)
    rule = rule or (rule_by_status(status) if status else None)
    return _remedy(rule) if rule else "read the message, which Azure wrote"


def _remedy(rule: Rule) -> str:
    return rule.hint or rule.remedy or REMEDY[rule.kind]
