"""The few Linux calls that Python 3.11 lacks, over ctypes: namespaces, mounts, capabilities. Used
by `namespace` and `rootfs`.
"""

import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
import struct
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
_LOCKED_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048  # the last two: noatime, nodiratime
_ST_RELATIME, _MS_RELATIME = 4096, 1 << 21
_MNT_DETACH = 2
_MOUNT_ATTR_RDONLY, _AT_RECURSIVE, _AT_FDCWD = 1, 0x8000, -100
# The same numbers on every architecture: these calls are newer than the unified table.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}  # this one is older than that
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 24, 36
_PR_SET_NO_NEW_PRIVS = 38
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

# What container engines leave to a process by default (chown, dac_override, fowner, fsetid, kill,
# setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap):
# without sys_admin a read-only mount stays read-only.
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})

_libc = ctypes.CDLL(None, use_errno=True)
# Keeps the interpreter's lock, which a forked child could never get back.
_locked_libc = ctypes.PyDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Moves the calling process into new namespaces. Raises OSError with the kernel's errno."""
    _check(_libc.unshare(flags), "unshare")


def fork_alone() -> int:
    """Forks, and the child is process 1 of a PID namespace: its end is the end of everything in it.

    Unlike unshare(CLONE_NEWPID) it leaves the caller's later children where they are, and needs no
    process between the two. Call it in a process with one thread. Raises OSError.
    """
    number = _SYS_CLONE.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"clone on {platform.machine()} is not known here")
    ctypes.pythonapi.PyOS_BeforeFork()
    # As fork does it: no stack of its own, no identifiers to be written.
    pid: int = _locked_libc.syscall(number, CLONE_NEWPID | signal.SIGCHLD, 0, 0, 0, 0)
    failed = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(failed, f"clone: {os.strerror(failed)}")
    return pid


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """The system call of that name. Raises OSError naming the target."""
    arguments = (
        source.encode(),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )
    _check(_libc.mount(*arguments), f"mount {target}")


def make_read_only(target: str | Path) -> None:
    """Makes a bind mount and everything below it read-only (below only from Linux 5.12 on)."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    arguments = (
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(target),
        _AT_RECURSIVE,
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
    if _libc.syscall(*arguments) == 0:
        return
    shown = os.statvfs(target).f_flag
    inherited = shown & _LOCKED_FLAGS | (
        _MS_RELATIME if shown & _ST_RELATIME else 0
    )  # a user namespace may not clear these
    mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | inherited)


def clone_tree(source: str | Path) -> int:
    """A descriptor of a detached copy of the mounts at `source`, as a bind mount would make it
    (Linux 5.2).
    """
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    descriptor: int = _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
    _check(min(descriptor, 0), f"open_tree {source}")
    return descriptor


def attach_tree(descriptor: int, target: str | Path) -> None:
    """Mounts what `clone_tree` gave at `target` of the mount namespace that the caller is in."""
    arguments = (
        _SYS_MOVE_MOUNT,
        descriptor,
        b"",
        _AT_FDCWD,
        os.fsencode(target),
        _MOVE_MOUNT_F_EMPTY_PATH,
    )
    _check(_libc.syscall(*arguments), f"move_mount {target}")


def detach(target: str | Path) -> None:
    """Unmounts `target`; files that are open stay open."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def join(namespace: str | Path) -> None:
    """Moves the calling process into the namespace behind a /proc/PID/ns file."""
    with Path(namespace).open("rb") as file:
        _check(_libc.setns(file.fileno(), 0), f"setns {namespace}")


def pivot_root(new_root: Path) -> None:
    """Makes `new_root` (a mount point) the root directory and detaches the old root."""
    os.chdir(new_root)
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount of the old root")
    os.chdir("/")


def set_hostname(name: str) -> None:
    encoded = name.encode()[:64]
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def bring_loopback_up() -> None:
    """Sets IFF_UP on `lo`, which every new network namespace has, but down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH14s", b"lo", 0, b""))
        flags = struct.unpack("16sH14s", answer)[1] | _IFF_UP
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags, b""))


def die_with_parent(signal_number: int) -> None:
    """Asks for `signal_number` when the thread that forked this process ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant that loses its own."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def drop_capabilities() -> None:
    """Limits what the next exec may gain to what container engines grant by default."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in set(range(last + 1)) - _KEPT_CAPABILITIES:
        _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl(PR_CAPBSET_DROP)")
    # No set-user-id program gives back what was dropped, as with allowPrivilegeEscalation: false.
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
