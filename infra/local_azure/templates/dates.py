"""Template functions on instants: `utcNow`, `dateTimeAdd` and the epoch, with .NET's formats."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

_DURATION = re.compile(
    r"(-?)P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
_STANDARD = {
    "o": "yyyy-MM-ddTHH:mm:ss.fffffffZ",
    "u": "yyyy-MM-dd HH:mm:ssZ",
    "s": "yyyy-MM-ddTHH:mm:ss",
    "d": "MM/dd/yyyy",
}
_PART = re.compile(r"yyyy|yy|MM|M|dd|d|HH|H|mm|m|ss|s|f+|'[^']*'|.")
_PARTS: dict[str, Callable[[datetime], str]] = {
    "yyyy": lambda at: f"{at.year:04}",
    "yy": lambda at: f"{at.year % 100:02}",
    "MM": lambda at: f"{at.month:02}",
    "M": lambda at: str(at.month),
    "dd": lambda at: f"{at.day:02}",
    "d": lambda at: str(at.day),
    "HH": lambda at: f"{at.hour:02}",
    "H": lambda at: str(at.hour),
    "mm": lambda at: f"{at.minute:02}",
    "m": lambda at: str(at.minute),
    "ss": lambda at: f"{at.second:02}",
    "s": lambda at: str(at.second),
}


def written(at: datetime, style: str) -> str:
    """An instant in one of .NET's standard or custom formats."""
    pieces = []
    for part in _PART.findall(_STANDARD.get(style, style)):
        if part.startswith("f"):
            pieces.append(f"{at.microsecond:06}0"[: len(part)])
        elif part.startswith("'"):
            pieces.append(part[1:-1])
        else:
            pieces.append(_PARTS[part](at) if part in _PARTS else part)
    return "".join(pieces)


def _read(text: str) -> datetime:
    shortened = re.sub(r"(\.\d{6})\d+", r"\1", text.strip()).replace("Z", "+00:00")
    if re.fullmatch(r"\d{8}T\d{6}\+00:00", shortened):
        shortened = re.sub(r"(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\d)", r"\1-\2-\3:\4:\5", shortened)
    at = datetime.fromisoformat(shortened)
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _add(base: str, duration: str, style: str = "yyyy-MM-ddTHH:mm:ssZ") -> str:
    match = _DURATION.fullmatch(duration)
    if match is None or not any(match.groups()[1:]):
        raise ValueError(f"'{duration}' is not an ISO 8601 duration")
    years, months, weeks, days, hours, minutes, seconds = (
        float(part or 0) for part in match.groups()[1:]
    )
    length = timedelta(
        days=years * 365 + months * 30 + weeks * 7 + days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
    )
    return written(_read(base) + (-length if match[1] else length), style)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "datetimeadd": _add,
    "datetimefromepoch": lambda seconds: written(
        datetime.fromtimestamp(seconds, UTC), "yyyy-MM-ddTHH:mm:ssZ"
    ),
    "datetimetoepoch": lambda text: int(_read(text).timestamp()),
    "utcnow": lambda style="yyyyMMddTHHmmssZ": written(datetime.now(UTC), style),
}
