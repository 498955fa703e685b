"""Where share content lives: `files/<account>/<share>/…`, a plain directory that a replica mounts
as it is.
"""

import contextlib
import os
import shutil
import threading
import uuid
from pathlib import Path

from infra.local_azure.options import Options


def account(options: Options, name: str) -> Path:
    return options.files / name.lower()


def share(options: Options, account_name: str, share_name: str) -> Path:
    return account(options, account_name) / share_name.lower()


def ensure(options: Options, account_name: str, share_name: str) -> Path:
    """The directory of a share, made when missing."""
    path = share(options, account_name, share_name)
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def keep(path: Path, beside: Path) -> None:
    """Take a tree out of its place with all its files. The directories are new ones: who has
    mounted the old sees nothing.
    """
    for folder, directories, names in os.walk(path):
        target = beside / os.path.relpath(folder, path)
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in [*names, *(name for name in directories if os.path.islink(f"{folder}/{name}"))]:  # noqa: PTH114
            os.rename(f"{folder}/{name}", target / name)  # noqa: PTH104
    discard(path)


def discard(path: Path) -> None:
    """Take a tree out of sight at once and remove it in the background; a big one takes seconds."""
    if not path.exists():
        return
    grave = path.parent / f".deleted-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        threading.Thread(
            target=shutil.rmtree, args=(grave,), kwargs={"ignore_errors": True}, daemon=True
        ).start()


def sweep(options: Options) -> None:
    """Remove what an earlier server had not finished removing."""
    for grave in [*options.files.glob(".deleted-*"), *options.files.glob("*/.deleted-*")]:
        discard(grave)
