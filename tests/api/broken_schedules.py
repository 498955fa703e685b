"""Saves whose schedules KEDA would not take."""

from tests.api.broken_case import MODEL, case


def _with(schedule):
    return MODEL + f"  scale: {{schedules: [{{{schedule}}}]}}\n"


SCHEDULES = [
    case(
        "a schedule with a word for a time",
        _with("start: morning, end: 0 19 * * *"),
        "5:31: 'morning' is no cron expression; write minute, hour, day, month and weekday",
    ),
    case(
        "a schedule with what KEDA does not know",
        _with("start: 0 7 L * *, end: 0 19 * * *"),
        "5:31: '0 7 L * *' is no cron expression",
    ),
    case(
        "a schedule nowhere",
        _with("start: 0 7 * * *, end: 0 19 * * *, timezone: Mars"),
        "5:69: 'Mars' is no time zone; write one such as Europe/Stockholm",
    ),
    case(
        "a schedule that ends as it starts",
        _with("start: 0 7 * * *, end: 0 7 * * *"),
        "5:47: end is start again; write a later time",
    ),
    case(
        "a schedule of more replicas than there may be",
        _with("start: 0 7 * * *, end: 0 9 * * *, minReplicas: 2"),
        "5:71: minReplicas is 2, more than maxReplicas 1 of the service; write 1 or less",
    ),
]
