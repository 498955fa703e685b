"""Where share content lives: `files/<account>/<share>/…`, a plain directory that a replica mounts
as it is.
"""

import contextlib
import os
import shutil
import threading
import uuid
from pathlib import Path


class Tree:
    """The folders below `root`. Accounts and shares are found in any case."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def account(self, name: str) -> Path:
        return self.root / name.lower()

    def share(self, account: str, name: str) -> Path:
        return self.account(account) / name.lower()

    def ensure(self, account: str, name: str) -> Path:
        """The directory of a share, made when missing."""
        path = self.share(account, name)
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return path

    def start(self) -> None:
        """Make the root, and remove what an earlier server had not finished removing."""
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        for trash in [*self.root.glob(".deleted-*"), *self.root.glob("*/.deleted-*")]:
            discard(trash)


def keep(path: Path, beside: Path) -> None:
    """Move a tree to another place. Its files are moved into new directories, so a replica that
    has the old ones mounted sees an empty share.
    """
    for folder, directories, names in os.walk(path):
        target = beside / os.path.relpath(folder, path)
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in [*names, *(name for name in directories if os.path.islink(f"{folder}/{name}"))]:  # noqa: PTH114
            os.rename(f"{folder}/{name}", target / name)  # noqa: PTH104
    discard(path)


def discard(path: Path) -> None:
    """Rename a tree at once and remove it in the background, because a big one takes seconds."""
    if not path.exists():
        return
    trash = path.parent / f".deleted-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(trash)
        threading.Thread(
            target=shutil.rmtree, args=(trash,), kwargs={"ignore_errors": True}, daemon=True
        ).start()
