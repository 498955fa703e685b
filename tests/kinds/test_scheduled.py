"""What schedules ask for at a time, by KEDA's rule, in time zones that change their clocks."""

from datetime import datetime

import pytest

from reconciler.api.outputs import ScheduledReplicas
from reconciler.api.schedule_fields import Schedule
from reconciler.composition import template
from reconciler.kinds.service.scheduled import scheduled

WORK = {"start": "0 7 * * 1-5", "end": "0 19 * * 1-5", "timezone": "Europe/Stockholm"}
NOON = {"start": "0 11 * * *", "end": "0 13 * * *", "minReplicas": 3}
NIGHT = {"start": "0 22 * * *", "end": "0 5 * * *"}


def at(now, *schedules):
    rules = [Schedule.model_validate(each) for each in schedules]
    return scheduled(template.scale(0, 5, 16, 300, rules), datetime.fromisoformat(now))


@pytest.mark.parametrize(
    ("now", "schedules", "replicas", "until"),
    [
        ("2026-11-30T05:59:00Z", [WORK], None, ""),
        ("2026-11-30T06:00:00Z", [WORK], 1, "2026-11-30T18:00:00Z"),
        ("2026-11-30T17:59:59Z", [WORK], 1, "2026-11-30T18:00:00Z"),
        ("2026-11-30T18:00:00Z", [WORK], None, ""),
        ("2026-11-28T12:00:00Z", [WORK], None, ""),  # a Saturday
        ("2026-07-01T05:00:00Z", [WORK], 1, "2026-07-01T17:00:00Z"),  # an hour earlier in summer
        ("2026-10-26T05:30:00Z", [WORK], None, ""),  # the first Monday in winter
        ("2026-11-30T12:00:00Z", [WORK, NOON], 3, "2026-11-30T13:00:00Z"),
        ("2026-11-30T12:00:00Z", [NOON, WORK], 3, "2026-11-30T13:00:00Z"),
        ("2026-11-30T14:00:00Z", [WORK, NOON], 1, "2026-11-30T18:00:00Z"),
        ("2026-11-30T23:30:00Z", [NIGHT, WORK], 1, "2026-12-01T05:00:00Z"),
        ("2026-11-30T12:00:00Z", [], None, ""),
    ],
)
def test_the_schedule_under_way_with_the_most_replicas_counts(now, schedules, replicas, until):
    """It is under way from its start to its end, by the clock of its time zone."""
    found = at(now, *schedules)
    assert found == (ScheduledReplicas(replicas, until) if replicas else None)
