"""Microsoft.Insights/eventtypes/management/values: the Activity Log, read with a restricted
`$filter`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm.activity import KEPT_S, ActivityLog
from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError, bad_request, not_found
from infra.local_azure.arm.reply import Reply, listed
from infra.local_azure.providers.provider import Provider

# A time may stand without quotes, as az sends it.
_CLAUSE = re.compile(r"\s*(\w+)\s+(eq|ge|le)\s+(?:'([^']*)'|(\d[^\s']*))\s*", re.IGNORECASE)
_FIELDS: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "resourcegroupname": lambda event: str(event["resourceGroupName"]),
    "resourceuri": lambda event: str(event["resourceId"]),
    "resourceid": lambda event: str(event["resourceId"]),
    "resourceprovider": lambda event: str(event["resourceProviderName"]["value"]),
    "correlationid": lambda event: str(event["correlationId"]),
    "caller": lambda event: str(event["caller"]),
    "status": lambda event: str(event["status"]["value"]),
}
_IGNORED = {"eventchannels", "levels"}


@dataclass(frozen=True)
class _Filter:
    since: float
    until: float
    equal: Mapping[str, str]

    def lets(self, event: dict[str, Any]) -> bool:
        return all(_FIELDS[name](event).lower() == value for name, value in self.equal.items())


@dataclass(frozen=True)
class ActivityEvents(Provider):
    """The events of the subscription."""

    activity: ActivityLog

    def routes(self) -> Routes:
        return {"get microsoft.insights/eventtypes/{}/values": self.values}

    def values(self, call: Call) -> Reply:
        if call.target.name.lower() != "management" or call.target.group is not None:
            raise not_found("Microsoft.Insights/eventtypes", call.target.name, "")
        wanted = _filter(call.query.get("$filter", ""))
        found = [e for e in self.activity.events(wanted.since, wanted.until) if wanted.lets(e)]
        selected = {name.strip().lower() for name in call.query.get("$select", "").split(",")}
        if selected != {""}:
            found = [{k: v for k, v in e.items() if k.lower() in selected} for e in found]
        return listed(found)


def _filter(text: str) -> _Filter:
    """The clauses that Azure takes, all of which must hold."""
    since, until, equal = None, clock.now(), dict[str, str]()
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE) if text else ():
        match = _CLAUSE.fullmatch(part)
        name = match[1].lower() if match else ""
        if match and name == "eventtimestamp" and match[2].lower() != "eq":
            instant = _instant(match[3] or match[4] or "")
            since, until = (instant, until) if match[2].lower() == "ge" else (since, instant)
        elif match and name in _FIELDS and match[2].lower() == "eq" and match[3] is not None:
            equal[name] = match[3].lower()
        elif name not in _IGNORED:
            raise _refused(f"The $filter clause '{part}' is not supported.")
    if since is None:
        raise _refused("The $filter must name the start: eventTimestamp ge '<time>'.")
    if since < clock.now() - KEPT_S:
        raise _refused("The start time cannot be more than 90 days in the past.")
    return _Filter(since, until, equal)


def _instant(text: str) -> float:
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        raise _refused(f"'{text}' is not a time.") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _refused(text: str) -> ArmError:
    return bad_request("BadRequest", text)
