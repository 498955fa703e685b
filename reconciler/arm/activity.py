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
from reconciler.arm.callers import caller_of
from reconciler.arm.clients import OWN_REQUEST, Arm
from reconciler.engine.errors import ReconcileError

KEPT = timedelta(days=89)  # Azure keeps 90 days, and refuses a question that begins before
_VALUES = "providers/Microsoft.Insights/eventtypes/management/values"
_SKEW = timedelta(minutes=15)
_PAGES = 5
_SHOWN = 200  # characters of a caller or an operation that others wrote


@dataclass(frozen=True)
class Written:
    """One write that ended well. `by` is a user's name or an id, as Azure has it; `name` says it to
    a person. `own` is whether this process signs in as the same.
    """

    by: str
    at: str
    operation: str
    correlation: str
    name: str = ""
    own: bool = False


@dataclass(frozen=True)
class Told:
    """What the Activity Log tells: the writes of others since Moorage's last one, newest first, and
    when that was (`own_at`); `problem` says why the log could not be read. `asked` is the time in
    Azure when it was.
    """

    writes: tuple[Written, ...] = ()
    problem: str = ""
    own_at: str = ""
    asked: datetime | None = None
    signed_in: frozenset[str] = frozenset()


async def changes_since(arm: Arm, resource: str) -> Told:
    """The writes of others to the resource of that ARM id since Moorage's last one. Never raises a
    ReconcileError: a person without the right to read the log still learns what differs.
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
        return Told(problem=error.message, asked=now, signed_in=arm.signed_in)
    writes, own_at = _of_others(events, resource, arm.signed_in)
    return Told(tuple(writes), "", own_at, now, arm.signed_in)


def _of_others(
    events: Sequence[Mapping[str, Any]], resource: str, signed_in: frozenset[str]
) -> tuple[list[Written], str]:
    found: dict[str, Written] = {}
    own_at = ""
    for event in sorted(events, key=lambda each: str(each.get("eventTimestamp")), reverse=True):
        if not ids.same(str(event.get("resourceId") or ""), resource):
            continue
        operation = _value(event.get("operationName"))
        if not operation.lower().endswith(("/write", "/delete")):
            continue
        request = event.get("httpRequest")
        asked = str(request.get("clientRequestId") or "") if isinstance(request, Mapping) else ""
        if asked.startswith(OWN_REQUEST):
            own_at = str(event.get("eventTimestamp") or "")[:_SHOWN]
            break
        if _value(event.get("status")).lower() != "succeeded":
            continue
        correlation = str(event.get("correlationId") or event.get("eventDataId") or "")
        caller = str(event.get("caller") or "")[:_SHOWN]
        found.setdefault(
            correlation,
            Written(
                caller,
                str(event.get("eventTimestamp") or "")[:_SHOWN],
                operation[:_SHOWN],
                correlation[:_SHOWN],
                caller_of(event)[:_SHOWN],
                caller.lower() in signed_in,
            ),
        )
    return [*found.values()], own_at


def _value(localizable: Any) -> str:
    return str(localizable.get("value") or "") if isinstance(localizable, Mapping) else ""


def _zulu(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
