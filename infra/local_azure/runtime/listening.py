"""Which ports a container listens on, read from its network namespace in /proc. `replica` compares
them with the target port.
"""

from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"


def ports(pid: int) -> set[int]:
    """TCP ports of IPv4 and IPv6; none when the process has ended."""
    found = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found.add(int(fields[1].rpartition(":")[2], 16))
    return found
