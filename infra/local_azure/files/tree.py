"""Where share content lives: `files/<account>/<share>/…`, a plain directory that a replica mounts as it is."""

import contextlib
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
    """Take a tree out of its place without losing it, or put it back."""
    if path.exists():
        path.rename(beside)


def discard(path: Path) -> None:
    """Take a tree out of sight at once and remove it in the background; a big one takes seconds."""
    if not path.exists():
        return
    grave = path.parent / f".deleted-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(grave)
        threading.Thread(target=shutil.rmtree, args=(grave,), kwargs={"ignore_errors": True}, daemon=True).start()


def sweep(options: Options) -> None:
    """Remove what an earlier server had not finished removing."""
    for grave in [*options.files.glob(".deleted-*"), *options.files.glob("*/.deleted-*")]:
        discard(grave)
