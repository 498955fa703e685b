"""Who else wrote to a resource, from Azure's Activity Log. Read when a person asks, never by the
loop; `clients` marks the daemon's own requests, so that they are told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from reconciler.api import versions
from reconciler.arm import ids
from reconciler.arm.clients import OWN_REQUEST, Arm
from reconciler.engine.errors import ReconcileError

KEPT = timedelta(days=89)  # Azure keeps 90 days, and refuses a question that begins before
_VALUES = "providers/Microsoft.Insights/eventtypes/management/values"
_SKEW = timedelta(minutes=15)
_PAGES = 5
_SHOWN = 200  # characters of a caller or an operation that others wrote


@dataclass(frozen=True)
class Written:
    """One write that ended well. `by` is a user's name or the id of an application."""

    by: str
    at: str
    operation: str
    correlation: str


@dataclass(frozen=True)
class Told:
    """What the Activity Log tells: the writes of others since Moorage's last one, newest first;
    `problem` says why it could not be read.
    """

    writes: tuple[Written, ...] = ()
    problem: str = ""


async def changes_since(arm: Arm, resource: str) -> Told:
    """The writes of others to the resource of that ARM id since Moorage's last one. Never raises a
    ReconcileError: who may not read the log still learns what differs.
    """
    now = arm.time.now()
    wanted = (
        f"eventTimestamp ge '{_zulu(now - KEPT)}' and eventTimestamp le '{_zulu(now + _SKEW)}'"
        f" and resourceUri eq '{resource}'"
    )
    query = f"api-version={versions.ACTIVITY}&$filter={quote(wanted)}"
    path = f"{ids.subscription(arm.subscription_id)}/{_VALUES}?{query}"
    try:
        events = await arm.list_json(path, versions.ACTIVITY, pages=_PAGES)
    except ReconcileError as error:
        return Told(problem=error.message)
    return Told(tuple(_of_others(events, resource)))


def _of_others(events: Sequence[Mapping[str, Any]], resource: str) -> list[Written]:
    found: dict[str, Written] = {}
    for event in sorted(events, key=lambda each: str(each.get("eventTimestamp")), reverse=True):
        if not ids.same(str(event.get("resourceId") or ""), resource):
            continue
        operation = _value(event.get("operationName"))
        if not operation.lower().endswith(("/write", "/delete")):
            continue
        request = event.get("httpRequest")
        asked = str(request.get("clientRequestId") or "") if isinstance(request, Mapping) else ""
        if asked.startswith(OWN_REQUEST):
            break
        if _value(event.get("status")).lower() != "succeeded":
            continue
        correlation = str(event.get("correlationId") or event.get("eventDataId") or "")
        found.setdefault(
            correlation,
            Written(
                str(event.get("caller") or "")[:_SHOWN],
                str(event.get("eventTimestamp") or "")[:_SHOWN],
                operation[:_SHOWN],
                correlation[:_SHOWN],
            ),
        )
    return [*found.values()]


def _value(localizable: Any) -> str:
    return str(localizable.get("value") or "") if isinstance(localizable, Mapping) else ""


def _zulu(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
