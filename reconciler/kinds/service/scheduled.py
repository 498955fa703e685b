"""The replicas that a service's schedules ask for at a time, by the cron rules of its template.
Pure; replicas.py tells of them in the status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from reconciler.api.outputs import ScheduledReplicas


def scheduled(scale: Mapping[str, Any], now: datetime) -> ScheduledReplicas | None:
    """The schedule under way with the most replicas, of several such the one that ends last; None
    while none is. Container Apps keeps the most that any of its rules asks for.
    """
    under_way = list(_under_way(scale, now))
    if not under_way:
        return None
    replicas, end = max(under_way)
    return ScheduledReplicas(replicas, end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _under_way(scale: Mapping[str, Any], now: datetime) -> Iterator[tuple[int, datetime]]:
    """KEDA's rule: a schedule is under way when its next end comes before its next start."""
    for rule in scale.get("rules") or ():
        custom = rule.get("custom") or {}
        if custom.get("type") != "cron":
            continue
        told = custom["metadata"]
        try:
            here = now.astimezone(ZoneInfo(told["timezone"]))
            end, start = (next(CronSim(told[name], here)) for name in ("end", "start"))
        except (CronSimError, ZoneInfoNotFoundError, StopIteration):
            continue  # a table of time zones is missing here; Azure has its own
        if end < start:
            yield int(told["desiredReplicas"]), end
