"""Mounts a share as an SMB client sees it: a FUSE device, and a process of `smb.server` behind it.
Used by `container`, `rootfs`.

The process lives outside the container's mount namespace and ends by itself when that namespace
does.
"""

import os
import subprocess
import sys
from pathlib import Path

from . import kernel

_DEVICE = "/dev/fuse"


def attach(source: str, options: str) -> int:
    """An open device with its server running; to be mounted once, then closed. Raises OSError when
    the machine has no FUSE.
    """
    device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        server = [
            sys.executable,
            "-m",
            "infra.local_azure.smb.server",
            str(device),
            source,
            options,
        ]
        subprocess.Popen(server, pass_fds=(device,), stdin=subprocess.DEVNULL, cwd="/")
    except BaseException:
        os.close(device)
        raise
    return device


def mount(device: int, target: str | Path) -> None:
    """Puts an attached device at `target`, in the mount namespace of the caller."""
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    kernel.mount("share", target, "fuse.smb", kernel.MS_NOSUID | kernel.MS_NODEV, options)
