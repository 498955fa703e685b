"""The folders in the container of a `code` service: the code, and further read-only folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from reconciler.api.fields import Fault, Model, bounded
from reconciler.api.source import CodeText

CODE_PATH = "/app"
SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")

MountPath = Annotated[
    str,
    bounded(
        lambda value: (
            re.fullmatch(r"(/(?!\.{1,2}(/|$))[\w.+@-]+)+", value, re.ASCII) is not None
            and not any(_within(value, system) for system in SYSTEM)
        ),
        "{!r} is no place for a folder in a container",
        "write an absolute path such as /mount/inference, outside of the system's own folders",
    ),
]


class Mount(Model):
    source: CodeText
    """./folder or share://path."""
    mount_path: MountPath
    """The path in the container; read-only."""


def mount_faults(code_path: str, mounts: Sequence[Mount]) -> Iterator[Fault]:
    """Refuse one folder inside another: the outer folder is read-only, so the mount point of the
    inner folder cannot be made.
    """
    taken = [code_path]
    for index, mount in enumerate(mounts):
        for other in taken:
            if _within(mount.mount_path, other) or _within(other, mount.mount_path):
                at = ("mounts", index, "mountPath")
                yield Fault(
                    f"{mount.mount_path} and {other} lie in each other",
                    "mount folders side by side",
                    at,
                )
        taken.append(mount.mount_path)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
