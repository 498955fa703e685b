"""Notices for people who do not look at the page: read from the store, as values with a stable id.
`edges.notify` sends them.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from reconciler.api.conditions import Condition, ConditionType, Status
from reconciler.api.printable import clean
from reconciler.api.reasons import Reason
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord
from reconciler.engine.store import Store
from reconciler.web.axes import remedy_of, without_remedy
from reconciler.web.service_view import app_of
from reconciler.web.wording import read_time, stamp

# Mattermost's @channel; what follows a letter or a digit, as in name@digest, calls nobody.
_MENTION = re.compile(r"(?<![0-9A-Za-z])@(?=\w)")
_LINK = re.compile(r"\](?=[(\[:])")  # Markdown's [name](address), [name][1] and [1]: address

IDLE = 1800.0  # seconds that a replica may run without serving; a large model takes its time


class Occasion(StrEnum):
    """What a notice is about."""

    STALLED = "Stalled"
    ROLLED_BACK = "RolledBack"
    AWAITING_APPROVAL = "AwaitingApproval"
    NOT_READY = "NotReady"
    IDLE_SPENDING = "IdleSpending"


@dataclass(frozen=True)
class Notice:
    """One occasion of one document, since `since`. With `over` it has passed."""

    occasion: Occasion
    document: DocumentRef
    message: str
    since: str
    remedy: str = ""
    over: bool = False

    @property
    def id(self) -> str:
        """The same for each attempt to send it, so that a receiver can drop a repetition."""
        parts = (*self.document, self.occasion, self.since, str(self.over))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def place(self) -> str:
        """The occasion of the document, whenever it is."""
        return f"{self.occasion} {self.document}"


def notices_of(store: Store, now: datetime) -> dict[str, Notice]:
    """The notices that are due now, by their place."""
    records = {record.key: record for record in store.objects()}
    found: list[Notice] = []
    for row in store.documents():
        conditions = {condition.type: condition for condition in row.conditions}
        found += _of_conditions(row.ref, conditions)
        if row.ref.kind == "InferenceService":
            found += _idle(row.ref, records, now)
    # A receiver may show the text in a terminal, and a chat in a line.
    shown = (replace(notice, message=clean(notice.message)) for notice in found)
    return {notice.place: notice for notice in shown}


def cloud_event(notice: Notice, source: str, now: datetime) -> dict[str, Any]:
    """The notice as a CloudEvent 1.0 in structured JSON."""
    return {
        "specversion": "1.0",
        "id": notice.id,
        "source": source,
        "type": f"dev.moorage.{notice.occasion.lower()}",
        "subject": str(notice.document),
        "time": stamp(now),
        "datacontenttype": "application/json",
        "data": plain(notice),
    }


def plain(notice: Notice) -> dict[str, Any]:
    """The notice as its fields."""
    return {
        "occasion": str(notice.occasion),
        "kind": notice.document.kind,
        "name": notice.document.name,
        "state": "over" if notice.over else "begun",
        "message": notice.message,
        "remedy": notice.remedy,
        "since": notice.since,
    }


def headline(notice: Notice, target: str) -> str:
    """What has begun or is over, and where: Moorage's own words and a document's name."""
    state = "no longer " if notice.over else ""
    return f"{notice.document} on the {target}: {state}{notice.occasion}"


def sentence(notice: Notice, target: str) -> str:
    """The notice in a line, as markup for a chat."""
    if notice.over:
        return headline(notice, target)
    said = f": {as_markup(notice.message)}" if notice.message else ""
    todo = f" What to do: {notice.remedy}." if notice.remedy else ""
    return f"{headline(notice, target)}{said}.{todo}"


def card(notice: Notice, target: str) -> dict[str, Any]:
    """The notice as a message with an Adaptive Card, which a workflow of Microsoft Teams posts. A
    TextRun has no markup, so an error message is shown as it is.
    """
    head = {"type": "TextBlock", "text": headline(notice, target), "weight": "Bolder", "wrap": True}
    lines = (
        [] if notice.over else [notice.message, notice.remedy and f"What to do: {notice.remedy}."]
    )
    runs = [[{"type": "TextRun", "text": line}] for line in lines if line]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": [head, *({"type": "RichTextBlock", "inlines": each} for each in runs)],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


def as_markup(text: str) -> str:
    """`text` in a form that Slack and Mattermost show as it is: whoever can write an error
    message could otherwise call a whole channel, or give a link another name.
    """
    line = " ".join(text.split("\n"))
    escaped = html.escape(line, quote=False)  # Slack's <!channel>, <@U1> and <address|name>
    return _LINK.sub("] ", _MENTION.sub("@ ", escaped))


def sent_notices(store: Store) -> dict[str, Notice]:
    """The notices that were sent and are not over, by their place."""
    try:
        values = json.loads(store.get("told") or "[]")
        known = [
            Notice(Occasion(occasion), DocumentRef(kind, name), message, since)
            for occasion, kind, name, message, since in values
        ]
    except (ValueError, TypeError):
        return {}
    return {notice.place: notice for notice in known}


def keep_sent(store: Store, notices: Mapping[str, Notice]) -> None:
    """Keep what was sent, so that a restart does not send it again."""
    rows = [[n.occasion, *n.document, n.message, n.since] for n in notices.values()]
    store.put("told", json.dumps(rows))


def _of_conditions(
    ref: DocumentRef, conditions: Mapping[ConditionType, Condition]
) -> Iterator[Notice]:
    stalled, synced = conditions.get(ConditionType.STALLED), conditions.get(ConditionType.SYNCED)
    ready = conditions.get(ConditionType.READY)
    moving = conditions.get(ConditionType.PROGRESSING)
    if stalled and stalled.status is Status.TRUE:
        yield _notice(Occasion.STALLED, ref, stalled)
    if synced and synced.reason == Reason.ROLLED_BACK:
        yield _notice(Occasion.ROLLED_BACK, ref, synced)
    if synced and synced.reason == Reason.AWAITING_APPROVAL:
        yield _notice(Occasion.AWAITING_APPROVAL, ref, synced)
    stuck = moving is None or moving.status is not Status.TRUE
    if ready and ready.status is Status.FALSE and stuck:
        yield _notice(Occasion.NOT_READY, ref, ready)


def _idle(
    ref: DocumentRef, records: Mapping[ObjectKey, ObjectRecord], now: datetime
) -> Iterator[Notice]:
    app = app_of(records, ref.name)
    started = [
        (at, each)
        for each in app.arm.replicas
        if not each.ready and (at := read_time(each.created_time))
    ]
    late = [(at, each) for at, each in started if (now - at).total_seconds() > IDLE]
    if late:
        first = min(at for at, _ in late)
        message = (
            f"{len(late)} of {len(app.arm.replicas)} replicas run, are billed and do not serve"
        )
        yield Notice(Occasion.IDLE_SPENDING, ref, message, stamp(first), "read `moorage status`")


def _notice(occasion: Occasion, ref: DocumentRef, condition: Condition) -> Notice:
    reason = condition.reason
    message = without_remedy(condition.message, reason)
    since = stamp(condition.last_transition_time)
    remedy = remedy_of(reason).removesuffix(".")
    return Notice(occasion, ref, f"{reason}: {message}".rstrip(": "), since, remedy)
