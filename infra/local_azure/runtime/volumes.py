"""Volumes of a running container whose directory on this machine is another one now. `replica` has
its shim mount them again.
"""

from collections.abc import Iterable
from pathlib import Path

from .rootfs import Volume
from .workload import Mount


def stale(pid: int, mounts: Iterable[Mount]) -> list[Volume]:
    """The volumes whose directories were removed and made again, so that the container of process
    `pid` still sees the old ones.

    EmptyDir volumes belong to the replica alone, and a share as SMB shows it follows the path.
    """
    return [
        Volume(str(mount.source), mount.target, mount.read_only)
        for mount in mounts
        if mount.source.is_absolute()
        and mount.smb is None
        and _differ(mount.source, Path(f"/proc/{pid}/root{mount.target}"))
    ]


def _differ(source: Path, seen: Path) -> bool:
    """False also when one of them cannot be looked at: a share that is gone, a container that is
    just ending.
    """
    try:
        there, inside = source.stat(), seen.stat()
    except OSError:
        return False
    return (there.st_dev, there.st_ino) != (inside.st_dev, inside.st_ino)
