"""Where a `code` service's folders are in its container: one folder that holds the code, and more
beside it.
"""

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
    """Where it is in the container, read-only."""


def mount_faults(code_path: str, mounts: Sequence[Mount]) -> Iterator[Fault]:
    """One folder inside another: the outer one is read-only, so nothing can make the place for the
    inner one.
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
