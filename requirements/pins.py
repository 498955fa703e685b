"""What the lock files pin for this Python, what each pin downloads, and its files' hashes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
PIN = re.compile(
    r"^(?P<pin>(?P<name>[A-Za-z0-9._-]+)==[^ ;]+)(?: ; python_version >="
    r" \"3\.(?P<minor>\d+)\")?\s+# (?P<size>[\d.]+) MB"
)


HASHES = LOCKS / "hashes.list"
UNHASHED = ("torch",)  # its CPU build differs by the place it comes from


def read_lock(name: str, minor: int = sys.version_info[1]) -> dict[str, float]:
    """The pins of one lock that count for this Python 3, with their download size in MB."""
    found = (
        PIN.match(line) for line in (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    )
    return {
        match["pin"]: float(match["size"])
        for match in found
        if match and int(match["minor"] or 0) <= minor
    }


def hashed(pins: Iterable[str]) -> list[str]:
    """The lines of a requirements file that takes no other files than those of hashes.list. A pin
    without a hash stays as it is, which pip and uv refuse to install.
    """
    lines = HASHES.read_text(encoding="utf-8").splitlines()
    known = {
        pin: hashes for pin, *hashes in (line.split() for line in lines if not line.startswith("#"))
    }
    return [
        " ".join([pin, *(f"--hash=sha256:{each}" for each in known.get(pin, ()))])
        for pin in pins
        if pin.partition("==")[0] not in UNHASHED
    ]


def size_text(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


if __name__ == "__main__":  # for an image's build: locks or pins as pip takes them, with hashes
    for given in sys.argv[1:]:
        print(*hashed([given] if "==" in given else read_lock(given)), sep="\n")
