"""What the callers of a gateway have used: the files that its replicas leave on the share, read
within bounds and by their schema, and added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import ValidationError

from reconciler.arm import files
from reconciler.arm.concurrency import each
from reconciler.arm.share import Share
from serving.gateway.routes import UsageLine
from serving.untrusted import UntrustedError, parse

LONGEST = 64 << 20  # bytes of one file: a replica's day
_LINE = 4096  # bytes
_READERS = 8
_COUNTED = ("requests", "input_tokens", "output_tokens", "errors", "wakeups", "held_seconds")
By = Literal["key", "model", "day"]


@dataclass
class UsedLines:
    """`unreadable` lines or files are left out of the sums."""

    lines: list[UsageLine]
    unreadable: int = 0


async def read_usage(share: Share, folder: str, since: date) -> UsedLines:
    """The lines of all replicas that a gateway ever had, from the day `since` on. `folder` is the
    gateway's on the share.
    """
    usage = UsedLines([])
    found = await files.list_tree(share, f"{folder}/data/usage")
    wanted = [path for path in found if day_of(path) >= since.isoformat()]

    async def one(path: str) -> None:
        data = await files.read(share, f"{folder}/data/usage/{path}", LONGEST) or b""
        if len(data) > LONGEST:
            usage.unreadable += 1
            return
        usage.lines += lines_in(data, usage)

    await each(wanted, one, _READERS)
    return usage


def totals(lines: Iterable[UsageLine], by: By) -> list[UsageLine]:
    """One line for each key, model or day, in order; the other two are empty in it."""
    sums: dict[str, dict[str, float]] = {}
    for line in lines:
        found = sums.setdefault(getattr(line, by), dict.fromkeys(_COUNTED, 0))
        for name in _COUNTED:
            found[name] += getattr(line, name)
    empty = UsageLine.model_construct(day="", key="", model="")
    return [empty.model_copy(update={by: name, **sums[name]}) for name in sorted(sums)]


def day_of(path: str) -> str:
    """The day of a file; empty for a file of another kind."""
    folder, _, name = path.rpartition("/")
    return name.removesuffix(".jsonl") if folder and name.endswith(".jsonl") else ""


def lines_in(data: bytes, usage: UsedLines) -> Iterator[UsageLine]:
    """The lines in `data`; those that cannot be read are counted in `usage`."""
    for line in data.split(b"\n"):
        if line:
            yield from _parsed(line, usage)


def _parsed(line: bytes, usage: UsedLines) -> Iterator[UsageLine]:
    """The line, or nothing if a crash cut it: the replica wrote what it knew into the next one."""
    try:
        yield UsageLine.model_validate(parse(line, _LINE))
    except (UntrustedError, ValidationError):
        usage.unreadable += 1
