"""When a service has replicas without being asked: the `scale.schedules` of an InferenceService."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Self
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from reconciler.api.fields import Fault, Int, Model, refusal, refuse_any

_HINT = "write minute, hour, day, month and weekday, such as 0 7 * * 1-5"


def _cron(value: str) -> str:
    """Five fields that KEDA reads as the daemon does: cronsim also knows L, W and #."""
    try:
        if not re.fullmatch(r"[0-9A-Za-z*/, -]+", value, re.ASCII) or re.search(r"[LlWw#]", value):
            raise CronSimError
        next(CronSim(value, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        raise refusal(Fault(f"{value!r} is no cron expression", _HINT)) from None
    return value


def _timezone(value: str) -> str:
    known = available_timezones()  # none on a machine without a table of them
    if known and value not in known:
        raise refusal(Fault(f"{value!r} is no time zone", "write one such as Europe/Stockholm"))
    return value


class Schedule(Model):
    start: Annotated[str, AfterValidator(_cron)]
    """When replicas start: minute, hour, day, month and weekday, such as `0 7 * * 1-5`."""
    end: Annotated[str, AfterValidator(_cron)]
    """When these replicas may stop, after a cooldown period without requests."""
    min_replicas: Annotated[Int, Field(ge=1, le=1000)] = 1
    """Replicas that run from start to end, with or without requests."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """The time zone of `start` and `end`, such as Europe/Stockholm."""

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.start == self.end:
            refuse_any([Fault("end is start again", "write a later time", ("end",))])
        return self
