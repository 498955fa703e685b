"""Moves a shim into user, network, UTS and IPC namespaces of its own, as root or as an ordinary
user.

The mount namespace is made per container start, in `container`.
"""

import os
from pathlib import Path

from . import kernel

_ADVICE = (
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


class NamespaceError(OSError):
    """The kernel does not let this user have namespaces; the message says what was refused and how
    to allow it.
    """


def enter(hostname: str, *, network: bool = True) -> None:
    """Enters fresh namespaces, with loopback up. Call it in a process with one thread.

    Without `network` the machine's own network stays, for replicas that listen on no port but
    connect to the outside. Raises NamespaceError with a single line for a person.
    """
    step = "user, network, UTS and IPC namespaces"
    flags = (
        kernel.CLONE_NEWUSER
        | kernel.CLONE_NEWUTS
        | kernel.CLONE_NEWIPC
        | (kernel.CLONE_NEWNET if network else 0)
    )
    try:
        # Only root may map users besides its own, and so read files of all owners in the replica.
        extents = _identity_map() if os.geteuid() == 0 else None
        _unshare_mapped(flags, extents)
        step = "the replica's host name"
        kernel.set_hostname(hostname)
        step = "the loopback interface of a network namespace"
        if network:
            kernel.bring_loopback_up()
    except OSError as error:
        raise NamespaceError(refusal(step, error)) from error


def refusal(step: str, error: OSError) -> str:
    """One line: what the kernel refused and how to allow it."""
    return f"the kernel refuses {step} ({error.strerror or error}); {_advice()}"


def _advice() -> str:
    for path, forbidding, command in _ADVICE:
        try:
            if Path(path).read_text().strip() == forbidding:
                return f"allow it with: sudo {command}"
        except OSError:
            continue
    return (
        "inside a container allow it with: docker run --security-opt seccomp=unconfined"
        " --security-opt apparmor=unconfined"
    )


def _identity_map() -> str:
    """Every user id of this namespace onto itself: root may read files of all owners in a replica,
    as in a container.
    """
    extents = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return "\n".join(f"{first} {first} {count}" for first, _, count in extents)


def _unshare_mapped(flags: int, extents: str | None) -> None:
    """Unshares and writes the id maps: `extents` by a helper that stayed outside (only it may),
    else this user as root.
    """
    user, group = os.geteuid(), os.getegid()
    helper = _MapWriter(extents) if extents else None
    kernel.unshare(flags)
    if helper is not None and helper.write():
        return
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


class _MapWriter:
    """A child in the old user namespace that writes this process's id maps once it has unshared."""

    def __init__(self, extents: str) -> None:
        reader, self._go = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go)
            ready = os.read(reader, 1)
            os._exit(0 if ready and _write_maps(os.getppid(), extents) else 1)
        os.close(reader)

    def write(self) -> bool:
        """True when the maps are in place."""
        os.write(self._go, b"1")
        os.close(self._go)
        return os.waitpid(self._pid, 0)[1] == 0


def _write_maps(pid: int, extents: str) -> bool:
    try:
        Path(f"/proc/{pid}/uid_map").write_text(extents)
        Path(f"/proc/{pid}/gid_map").write_text(extents)
    except OSError:
        return False
    return True
