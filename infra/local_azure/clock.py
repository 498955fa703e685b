"""The formats in which Azure writes times. Everything that shows a time to a client uses them."""

import time
from datetime import UTC, datetime
from email.utils import formatdate


def now() -> float:
    return time.time()


def moment(epoch: float | None = None) -> datetime:
    """An instant as a UTC datetime."""
    return datetime.fromtimestamp(now() if epoch is None else epoch, UTC)


def ticks(epoch: float | None = None) -> str:
    """2024-10-14T06:21:34.6489624: up to seven digits, trailing zeros cut, no zone (systemData as a
    GET shows it).
    """
    nanoseconds = time.time_ns() if epoch is None else int(epoch * 1e9)
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = f"{fraction // 100:07d}".rstrip("0")
    base = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{base}.{text}" if text else base


def zulu(epoch: float | None = None) -> str:
    """The same with a Z: what most providers write."""
    return ticks(epoch) + "Z"


def smb(nanoseconds: int) -> str:
    """2024-06-20T04:29:11.6347258Z: a file's times always have seven digits, and azcopy reads them
    no other way.
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 100:07d}Z"


def offset(epoch: float) -> str:
    """2024-10-14T06:21:41+00:00: revisions' createdTime."""
    return datetime.fromtimestamp(int(epoch), UTC).isoformat()


def http(epoch: float) -> str:
    """RFC 1123, for Last-Modified and Date."""
    return formatdate(epoch, usegmt=True)
