"""How many replicas the cron rules of a revision ask for, pure. `scheduler` asks at every look.

KEDA's rule: a schedule is under way when its next end comes before its next start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError


@dataclass(frozen=True)
class CronRule:
    """One custom scale rule of the type cron, as its metadata has it."""

    start: str
    end: str
    timezone: str
    replicas: int


def scheduled(rules: Iterable[CronRule], now: datetime) -> int:
    """The most replicas that a schedule under way asks for. One that cannot be read asks for
    none.
    """
    return max((rule.replicas for rule in rules if _under_way(rule, now)), default=0)


def _under_way(rule: CronRule, now: datetime) -> bool:
    try:
        here = now.astimezone(ZoneInfo(rule.timezone))
        return next(CronSim(rule.end, here)) < next(CronSim(rule.start, here))
    except (CronSimError, ZoneInfoNotFoundError, StopIteration, ValueError):
        return False
