"""What the lock files pin, for this Python, and what each pin downloads."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
PIN = re.compile(
    r"^(?P<pin>(?P<name>[A-Za-z0-9._-]+)==[^ ;]+)(?: ; python_version >="
    r" \"3\.(?P<minor>\d+)\")?\s+# (?P<size>[\d.]+) MB"
)


def read_lock(name: str) -> dict[str, float]:
    """The pins of one lock that count for this Python, with their download size in MB."""
    found = (
        PIN.match(line) for line in (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    )
    return {
        match["pin"]: float(match["size"])
        for match in found
        if match and int(match["minor"] or 0) <= sys.version_info[1]
    }


def size_text(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
