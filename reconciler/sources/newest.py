"""Which of the adapters below a folder of the share is the newest, and whether it can be served.
Used by `remote`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reconciler.api.adapters import fit
from reconciler.api.loaded import Loaded
from reconciler.arm.files import Entry

CONFIG = "adapter_config.json"
UNKNOWN = datetime.min.replace(tzinfo=UTC)


def candidates(listed: Mapping[str, Entry], quiet: float, now: datetime) -> tuple[list[str], bool]:
    """The folders in `listed` that hold an adapter, newest first; and whether one is left out
    because it was written to within `quiet` seconds before `now`, the share's time. A trainer's
    checkpoints are left out: they hold adapters, but no results.
    """
    written: dict[str, datetime] = {}
    for path in listed:
        folder, _, name = f"/{path}".rpartition("/")
        if name == CONFIG and not any(part.startswith("checkpoint") for part in folder.split("/")):
            inside = [
                entry.modified or UNKNOWN
                for other, entry in listed.items()
                if f"/{other}".startswith(f"{folder}/")
            ]
            written[folder.strip("/")] = max(inside)
    rested = {folder: at for folder, at in written.items() if now - at >= timedelta(seconds=quiet)}
    return sorted(rested, key=lambda folder: (rested[folder], folder), reverse=True), len(
        rested
    ) < len(written)


def faults(folder: Path, loaded: Loaded) -> tuple[str, ...]:
    """Why the adapter in `folder` cannot be served with the base model of this document."""
    return fit(folder, loaded).problems
