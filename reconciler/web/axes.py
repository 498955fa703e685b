"""The two axes of a document, sync and health, and the causes of what is not well: pure, from its
conditions. `service_view` makes sentences of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from reconciler.api.conditions import Condition, ConditionType, Status, advice
from reconciler.api.decided import is_decided
from reconciler.api.reasons import AZURE, Cause, Reason
from reconciler.api.symptoms import rank
from reconciler.web.azure_words import plain

OUTPUT = "last output: "  # how `kinds.cause` begins the lines of a container
EVENTS = "last events: "
SEPARATOR = " | "
_REASON = re.compile(r"\b([A-Z][A-Za-z]+): ")
_HOLD = re.compile(
    r"; revision \S{1,100} (?:serves|is to serve again) until the document's spec changes"
)
_DECIDED = (Reason.ROLLED_BACK, Reason.PROMOTED)
ABNORMAL_WHEN_TRUE = (ConditionType.STALLED, ConditionType.DRIFTED)


class Tone(StrEnum):
    """How grave something is; the page gives each a colour and a sign."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    QUIET = "quiet"


class Axis(NamedTuple):
    """One word for one axis, why, and since when."""

    word: str
    tone: Tone
    reason: str = ""
    message: str = ""
    since: datetime | None = None


class PlainCause(NamedTuple):
    """Why something is not well. `lines` are the last lines of a log that belong to it."""

    reason: str
    message: str
    cause: str
    remedy: str
    lines: tuple[str, ...] = ()
    since: datetime | None = None

    @property
    def decided(self) -> bool:
        """Whether it is what a person asked for, so that nothing has to be mended."""
        return is_decided(self.reason, self.message)


Conditions = Mapping[ConditionType, Condition]
AGAIN = ": Moorage tries again by itself"


def sync_of(conditions: Conditions) -> Axis:
    """Whether Azure is as the document says."""
    synced = conditions.get(ConditionType.SYNCED)
    if synced is None:
        return Axis("Unknown", Tone.QUIET)
    if synced.status is Status.TRUE:
        return _axis("Synced", Tone.GOOD, synced)
    if synced.status is Status.UNKNOWN:
        return _axis("Unknown", Tone.QUIET, synced)
    if synced.reason == Reason.AWAITING_APPROVAL:
        return _axis("Waits for approval", Tone.WARN, synced)
    if synced.reason in _DECIDED:
        return _axis("Held", Tone.WARN, synced)
    if is_true(conditions, ConditionType.STALLED):
        return _axis("Out of sync", Tone.BAD, synced)
    if is_true(conditions, ConditionType.PROGRESSING):
        return _axis("Syncing", Tone.BUSY, synced)
    return _axis("Out of sync", Tone.WARN, synced)


def health_of(conditions: Conditions) -> Axis:
    """Whether it serves."""
    ready = conditions.get(ConditionType.READY)
    if ready is None:
        if is_true(conditions, ConditionType.STALLED):
            return _axis("Refused", Tone.BAD, conditions[ConditionType.STALLED])
        return Axis("Not seen yet", Tone.QUIET)
    if ready.status is Status.UNKNOWN:
        return _axis("Unknown", Tone.WARN, ready)
    if ready.status is Status.TRUE:
        if ready.reason == Reason.SCALED_TO_ZERO:
            return _axis("Asleep", Tone.QUIET, ready)
        return _axis("Healthy", Tone.GOOD, ready)
    if ready.reason == Reason.DELETING:
        return _axis("Leaving", Tone.BUSY, ready)
    if is_true(conditions, ConditionType.PROGRESSING):
        return _axis("Starting", Tone.BUSY, ready)
    return _axis("Degraded", Tone.BAD, ready)


def causes_of(conditions: Conditions) -> tuple[PlainCause, ...]:
    """What is not well, each cause once, the gravest first; what only takes its time is no
    cause.
    """
    found: dict[tuple[str, str], PlainCause] = {}
    for condition in _unwell(conditions):
        reason = condition.reason
        message, lines = split_lines(condition.message)
        why = explaining_reason(reason, message)
        remedy = remedy_of(why)
        if why != reason and remedy:  # what was rolled back is held until the document changes
            remedy = f"{remedy.removesuffix(AGAIN)}; then change the spec and save to try again"
        cause = PlainCause(
            str(reason),
            without_remedy(message, why),
            why.cause if isinstance(why, Reason) else "",
            remedy,
            lines,
            condition.last_transition_time,
        )
        found.setdefault((cause.reason, cause.message), cause)
    # An operation that failed without a code is only a consequence of another cause that has a
    # name.
    named = [each for each in found.values() if each.reason != Reason.OPERATION_FAILED]
    told = named or list(found.values())
    once = [each for each in told if not any(_repeats(each, other) for other in told)]
    return tuple(sorted(once, key=lambda each: rank(each.reason, each.remedy)))


def _repeats(one: PlainCause, other: PlainCause) -> bool:
    """Whether another cause says the same and more."""
    mine = one.message.rstrip(".")
    longer = len(other.message.rstrip(".")) > len(mine)
    return one.reason == other.reason and longer and mine in other.message


def cause_of(word: str) -> str:
    """What a reason means by itself."""
    return next((each.cause for each in Reason if each == word), "Azure refused it without a word")


def remedy_of(reason: Cause | str) -> str:
    """What to do about a reason; empty where there is nothing to do."""
    if isinstance(reason, Reason):
        return reason.remedy
    from reconciler.arm.remedies import remedy_of_code  # azure.core is slow to import

    return remedy_of_code(str(reason).removeprefix(AZURE))


def without_remedy(message: str, reason: Cause | str) -> str:
    """The message without the advice that it ends with, which has a line of its own."""
    ending = advice(reason) if isinstance(reason, Reason) else remedy_of(reason)
    return message.removesuffix(ending).rstrip()


def explaining_reason(reason: Cause | str, message: str) -> Cause | str:
    """The reason that explains a condition: of what was rolled back, the one in its message."""
    if reason != Reason.ROLLED_BACK:
        return reason
    known = {str(each): each for each in Reason}
    words = (known.get(word) for word in _REASON.findall(message))
    return next((each for each in words if each), reason)


def split_lines(message: str) -> tuple[str, tuple[str, ...]]:
    """A message without the lines of a log in it, and these lines."""
    message = plain(message)
    for begin in (OUTPUT, EVENTS):
        head, found, rest = message.partition(begin)
        if found:
            if held := _HOLD.search(rest):  # a rollback adds what holds, and ends the lines
                rest = f"{rest[: held.start()]}. {held[0].removeprefix('; ')}"
            lines, end, tail = rest.rpartition(". ")
            verb = "are" if begin == EVENTS else "is"
            text = f"{head}{begin.rstrip(': ')} {verb} below" + (f". {tail}" if end else "")
            return text, tuple((lines if end else rest).split(SEPARATOR))
    return message, ()


def _unwell(conditions: Conditions) -> Iterator[Condition]:
    order: Sequence[ConditionType] = (
        ConditionType.STALLED,
        ConditionType.READY,
        ConditionType.SYNCED,
        *(kind for kind in ConditionType if kind is not ConditionType.PROGRESSING),
    )
    unwell = [c for kind in dict.fromkeys(order) if (c := conditions.get(kind)) and not _well(c)]
    # What keeps it from being made says more than that it is not there.
    told = any(condition.reason != Reason.MISSING for condition in unwell)
    for condition in unwell:
        if told and condition.reason == Reason.MISSING:
            continue
        waits = isinstance(condition.reason, Reason) and condition.reason.remedy == "wait"
        if not waits:
            yield condition


def _well(condition: Condition) -> bool:
    good = Status.FALSE if condition.type in ABNORMAL_WHEN_TRUE else Status.TRUE
    neutral = (Reason.SCALED_TO_ZERO, Reason.SKIPPED, Reason.NOT_OBSERVED)
    return condition.status is good or condition.reason in neutral


def is_true(conditions: Conditions, kind: ConditionType) -> bool:
    condition = conditions.get(kind)
    return condition is not None and condition.status is Status.TRUE


def _axis(word: str, tone: Tone, condition: Condition) -> Axis:
    return Axis(
        word, tone, str(condition.reason), condition.message, condition.last_transition_time
    )
