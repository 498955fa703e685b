"""Starts a container's first process: fork, own mount namespace and root, exec.

Called by `shim`, which is already in the replica's other namespaces.
"""

import errno
import json
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import kernel, rootfs, share_view
from .namespace import refusal

_NO_NAMESPACE = (errno.EPERM, errno.ENOSYS, errno.EINVAL, errno.ENOSPC, errno.EACCES)
_NO_PROC = "NoProc"
_refused: str | None = None


@dataclass(frozen=True)
class Command:
    """What to run and in which root; JSON in the replica's spec.json (which is owner-only: `env`
    holds secrets).
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    plan: rootfs.Plan

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Command":
        volumes = [rootfs.Volume(**volume) for volume in raw["plan"]["volumes"]]
        return cls(raw["argv"], raw["env"], rootfs.Plan(**{**raw["plan"], "volumes": volumes}))


@dataclass(frozen=True)
class Started:
    """A running container: its first process and the read ends of its output pipes."""

    pid: int
    stdout: int
    stderr: int


class StartError(Exception):
    """The container could not start; `reason` is kubelet's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def start(command: Command) -> Started:
    """Starts the container and returns once it has exec'ed. Raises StartError."""
    views = _views(command.plan)
    (stdout, stdout_end), (stderr, stderr_end), (report, report_end) = (
        os.pipe(),
        os.pipe(),
        os.pipe(),
    )
    pid, alone = _fork()
    if pid == 0:
        for descriptor in (stdout, stderr, report):
            os.close(descriptor)
        os._exit(_child(command, alone, (stdout_end, stderr_end), report_end, views))
    # Close our copies, which would keep the pipes open, so that the report would never end.
    for descriptor in (stdout_end, stderr_end, report_end, *views.values()):
        os.close(descriptor)
    with os.fdopen(report, "rb") as reader:
        failure = reader.read()
    if failure:
        os.waitpid(pid, 0)
        os.close(stdout)
        os.close(stderr)
        reason, message = json.loads(failure)
        if reason == _NO_PROC:
            _give_up(message)
            return start(command)
        raise StartError(reason, message)
    return Started(pid, stdout, stderr)


def _fork() -> tuple[int, bool]:
    """The new process, and whether it is process 1 of a PID namespace of its own."""
    if _refused is None:
        try:
            return kernel.fork_alone(), True
        except OSError as error:
            if error.errno not in _NO_NAMESPACE:
                raise
            _give_up(refusal("a PID namespace", error))
    return os.fork(), False


def _give_up(message: str) -> None:
    """Log once what the kernel refuses, and start this and all later containers without a PID
    namespace.
    """
    global _refused  # noqa: PLW0603 - the kernel of one machine gives one answer
    _refused = f"{message}; the replica's processes see those of this machine"
    print(_refused, file=sys.stderr, flush=True)


def remount(pid: int, volumes: Sequence[rootfs.Volume]) -> None:
    """Puts volumes into a running container again, whose directories were replaced: a share that
    was deleted and came back.

    Call it in a process of its own in the shim's namespaces. Raises OSError.
    """
    kernel.unshare(
        kernel.CLONE_NEWNS
    )  # only the owner of a mount namespace may copy mounts from it
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    trees = [kernel.clone_tree(volume.source) for volume in volumes]
    kernel.join(f"/proc/{pid}/ns/mnt")
    for volume, tree in zip(volumes, trees, strict=True):
        kernel.detach(volume.target)
        kernel.attach_tree(tree, volume.target)
        if volume.read_only:
            kernel.make_read_only(volume.target)


def _views(plan: rootfs.Plan) -> dict[str, int]:
    """The FUSE devices of the volumes that are shown as SMB shows them, by target."""
    views: dict[str, int] = {}
    try:
        for volume in plan.volumes:
            if volume.smb is not None:
                views[volume.target] = share_view.attach(volume.source, volume.smb)
    except OSError as error:
        for device in views.values():
            os.close(device)
        message = f"--share-view smb needs FUSE, and /dev/fuse cannot be opened: {error.strerror}"
        raise StartError("CreateContainerError", message) from error
    return views


def _child(
    command: Command, alone: bool, output: tuple[int, int], report: int, views: Mapping[str, int]
) -> int:
    """Returns only when something failed. The reason goes through the report pipe, which exec
    closes.
    """
    reason, step = "CreateContainerError", "a mount namespace"
    try:
        os.setsid()
        os.umask(0o022)
        kernel.die_with_parent(signal.SIGKILL)
        # The shim, which reads the other end, died before the line above: no signal will come.
        if _is_unread(report):
            return 1
        kernel.unshare(kernel.CLONE_NEWNS)
        step = "the replica's root directory"
        rootfs.enter(command.plan, views, alone=alone)
        kernel.drop_capabilities()
        _inherit_nothing(output)
        reason, step = "StartError", "exec"
        os.execvpe(command.argv[0], list(command.argv), dict(command.env))  # noqa: S606 - no shell is the point
    except rootfs.ProcError as error:
        os.write(report, json.dumps([_NO_PROC, refusal("a /proc of its own", error)]).encode())
    except OSError as error:
        message = (
            f"exec: {command.argv[0]!r}: {error.strerror}"
            if step == "exec"
            else refusal(step, error)
        )
        os.write(report, json.dumps([reason, message]).encode())
    except Exception as error:  # noqa: BLE001 - a forked child must never return into the shim's code
        os.write(report, json.dumps([reason, f"{step}: {error!r}"]).encode())
    return 127


def _is_unread(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


def _inherit_nothing(output: tuple[int, int]) -> None:
    """Standard streams and default signals: what a container runtime hands over."""
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (output[0], 1), (output[1], 2)):
        os.dup2(source, target, inheritable=True)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
