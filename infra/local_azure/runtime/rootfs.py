"""Builds a container's root directory in a fresh mount namespace and moves into it. Called by
`container` after fork.

The system directories of this machine appear read-only, everything else is a private tmpfs; so a
mountPath can be created anywhere and nothing the container writes reaches the machine, except
through its volumes.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import kernel, share_view

_SYSTEM = ("bin", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin", "usr")
_DEVICES = ("dev", "proc", "sys")
_PRIVATE = (
    "home",
    "mnt",
    "media",
    "root",
    "run",
    "srv",
    "tmp",
    "var/cache",
    "var/lib",
    "var/log",
    "var/tmp",
)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Volume:
    """A directory of the machine at a path of the container; with `smb` (mount options) as an SMB
    client would see it.
    """

    source: str
    target: str
    read_only: bool
    smb: str | None = None


@dataclass(frozen=True)
class Plan:
    """What the container sees besides the system: `visible` paths of the machine (read-only, same
    path), `hidden` ones, volumes.

    `label` marks the root mount, and so every process of the container, see `processes`.
    """

    root: str
    label: str
    hostname: str
    visible: Sequence[str]
    hidden: Sequence[str]
    volumes: Sequence[Volume]


class ProcError(OSError):
    """The kernel mounts no /proc for a PID namespace, as where parts of the machine's are
    hidden.
    """


def enter(plan: Plan, views: Mapping[str, int], *, alone: bool) -> None:
    """Makes `plan` the root directory of the calling process, which must own a fresh mount
    namespace. Raises OSError.

    `views` are the open FUSE devices of the volumes that have one, by target. A process that is
    `alone` in a PID namespace gets its own /proc; ProcError if the kernel refuses that.
    """
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    root = Root(Path(plan.root), plan.label)
    root.add_system(plan.hostname, alone=alone)
    for path in plan.hidden:
        root.hide(path)
    for path in plan.visible:
        root.show(path)
    # Outer paths first, or a volume would be mounted over the ones inside of it.
    for volume in sorted(plan.volumes, key=lambda volume: volume.target.count("/")):
        root.add_volume(volume, views.get(volume.target))
    kernel.pivot_root(Path(plan.root))


class Root:
    """A root directory under construction at `path`; the machine's own root is still at /."""

    def __init__(self, path: Path, label: str) -> None:
        self._path = path
        self._volumes: list[str] = []
        path.mkdir(exist_ok=True)
        kernel.mount(label, path, "tmpfs", kernel.MS_NODEV, "mode=0755")

    def add_system(self, hostname: str, *, alone: bool) -> None:
        for name in _SYSTEM:
            self._replicate(Path("/") / name)
        for name in _DEVICES:
            self._replicate(Path("/") / name, read_only=name == "sys")
        if alone:
            self._mount_proc()
        for name in _PRIVATE:
            self.directory(f"/{name}")
        for name in ("tmp", "var/tmp"):
            (self._path / name).chmod(0o1777)
        with suppress(OSError):
            self._link("/var/run", "/run")
        kernel.mount(
            "shm", self._path / "dev/shm", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777"
        )
        self._name_host(hostname)
        self._find_names()

    def _mount_proc(self) -> None:
        """Over the machine's, whose numbers mean nothing to the processes of this namespace."""
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        try:
            kernel.mount("proc", self._path / "proc", "proc", flags)
        except OSError as error:
            raise ProcError(error.errno, error.strerror) from error

    def show(self, path: str) -> None:
        """Shows a path of the machine, read-only, unless a system directory already holds it."""
        inside = self._path / path.lstrip("/")
        if inside.exists() or inside.is_symlink():
            return
        self.directory(str(Path(path).parent))
        self._replicate(Path(path))

    def hide(self, path: str) -> None:
        """Puts an empty directory over a directory, and nothing over anything else."""
        inside = self._path / path.lstrip("/")
        if inside.is_dir():
            kernel.mount("hidden", inside, "tmpfs", kernel.MS_NODEV, "mode=0755")
        # A file cannot be covered by a directory; /dev/null reads as empty.
        elif inside.exists():
            kernel.mount("/dev/null", inside, flags=kernel.MS_BIND)

    def add_volume(self, volume: Volume, view: int | None) -> None:
        target = self.directory(volume.target)
        if view is None:
            kernel.mount(volume.source, target, flags=kernel.MS_BIND | kernel.MS_REC)
        else:
            share_view.mount(view, target)
        if volume.read_only:
            kernel.make_read_only(target)
        self._volumes.append(volume.target.rstrip("/"))

    def directory(self, path: str) -> Path:
        """The directory `path` of the container, created when missing, without ever writing to the
        machine.
        """
        inside = self._path
        for part in [part for part in path.split("/") if part]:
            if part == "..":
                raise OSError(errno.EINVAL, f"mountPath {path} must not contain '..'")
            inside = self._follow(inside / part)
            if inside.is_dir():
                continue
            try:
                inside.mkdir()
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
                # The machine's directory is read-only here, so a private one takes its place.
                self._open_up(inside.parent)
                inside.mkdir()
        return inside

    def _follow(self, inside: Path) -> Path:
        """A symbolic link's target, kept inside the new root."""
        for _ in range(8):
            if not inside.is_symlink():
                break
            joined = Path("/", inside.parent.relative_to(self._path), inside.readlink())
            inside = self._path / os.path.normpath(joined).lstrip("/")
        return inside

    def _open_up(self, inside: Path) -> None:
        """Replaces a read-only directory of the machine by a private one with the same entries."""
        path = "/" + str(inside.relative_to(self._path))
        if any(path == volume or path.startswith(volume + "/") for volume in self._volumes):
            raise OSError(
                errno.EROFS, f"cannot create a mountPath inside the read-only volume at {path}"
            )
        entries = list(Path(path).iterdir())
        kernel.mount("tmpfs", inside, "tmpfs", kernel.MS_NODEV, "mode=0755")
        for entry in entries:
            self._replicate(entry)

    def _replicate(self, host: Path, *, read_only: bool | None = None) -> None:
        """Shows one entry of the machine at the same path: links as links, directories and files as
        bind mounts.
        """
        inside = self._path / str(host).lstrip("/")
        if host.is_symlink():
            inside.symlink_to(host.readlink())
            return
        if host.is_dir():
            inside.mkdir()
        elif host.is_file():
            inside.touch()
        else:
            return  # absent here, or a socket or pipe of the machine
        kernel.mount(str(host), inside, flags=kernel.MS_BIND | kernel.MS_REC)
        if read_only is None or read_only:
            kernel.make_read_only(inside)

    def _link(self, path: str, target: str) -> None:
        (self._path / path.lstrip("/")).symlink_to(target)

    def _find_names(self) -> None:
        """/etc/resolv.conf is often a link into /run, which is the replica's own."""
        real = Path("/etc/resolv.conf").resolve()
        inside = self._path / str(real).lstrip("/")
        if real.is_file() and not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(real.read_bytes())

    def _name_host(self, hostname: str) -> None:
        """Replaces /etc/hosts, so that the replica can resolve its own name as it can on Azure."""
        content = f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        source = self._path / "run/hosts"
        source.write_text(content)
        hosts = self._path / "etc/hosts"
        if hosts.is_file():
            kernel.mount(str(source), hosts, flags=kernel.MS_BIND)
        source.unlink()
