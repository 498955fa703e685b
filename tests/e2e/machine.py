"""A replica's processes by this machine's numbers, as the local Azure knows them: a replica counts
its own from 1.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local_azure.runtime.processes import labelled


def machine_pid(azure: Path, replica: Mapping[str, Any]) -> int:
    """Of the process whose number the replica reports. `azure` is the local Azure's folder."""
    label = label_of(azure, replica["name"])
    (found,) = (pid for pid in labelled(label) if _inside(pid) == replica["pid"])
    return found


def label_of(azure: Path, replica: str) -> str:
    """What marks the processes of a replica."""
    spec = json.loads((azure / "replicas" / replica / "spec.json").read_text())
    return str(spec["command"]["plan"]["label"])


def _inside(pid: int) -> int:
    """Its number in the innermost PID namespace that it belongs to."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[-1]) for line in lines if line.startswith("NSpid:"))
