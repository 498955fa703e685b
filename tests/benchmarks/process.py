"""What a process costs, read from /proc: CPU seconds, memory now and at its peak. Neighbour:
`house` starts the processes.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of a process that has ended: wall and CPU seconds with its children's, its own peak memory in
    MB, and its exit code.
    """

    wall: float
    cpu: float
    peak: float
    code: int
    output: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run `command` to its end and measure it. Its output is kept, for whoever must explain a
    failure.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    return Cost(
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024 / 1e6,
        process.returncode,
        output,
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of a living process, without children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> tuple[float, float]:
    """Resident memory of a living process in MB: now, and its peak so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = {
        name: int(value) * 1024 / 1e6
        for name, value in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE)
    }
    return found["VmRSS"], found["VmHWM"]
