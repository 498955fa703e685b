"""The identity of a set of documents: the value of the tag `moorage-owner` of all that it makes.

Two sets must not share an identity by accident, and one set must keep it on every machine. So it is
given, or made from the Git remote and the path in it, or from an id that is made once and kept in a
file beside the documents. See infra/decisions/2026-11-29-identity.md.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler.api.regular_files import read_regular

ID_FILE = ".moorage-set"
GIT_BYTES = 1 << 20  # of a Git configuration; usual ones have a few thousand bytes
_FIELDS = ("id", "machine", "folder")
_ID = re.compile(r"[0-9a-f]{16}")
_SCP = re.compile(r"(?:[^@/\s]+@)?(?P<host>[^:/\s]+):(?P<path>(?!//).+)")
# One repository has several addresses; a colleague who clones by SSH has the same set.
_HOSTS = {"ssh.dev.azure.com": "dev.azure.com", "ssh.github.com": "github.com"}
_HEAD = f"""\
# The identity of the documents beside this file. Commit it: who has no {ID_FILE} and no Git remote
# gets an identity of their own, and what this one made stays another set's.
"""


class NoIdentityError(Exception):
    """The documents have no identity and cannot be given one; the text says what to do."""


@dataclass(frozen=True)
class SetIdentity:
    """`id` is the value of the tag, `source` says in words where it comes from."""

    id: str
    source: str


@dataclass(frozen=True)
class DocumentSet:
    """One set of documents: its identity, and the files and folders that it is read from.

    `partial` says that the set has more files than these, so an object that these do not name is
    not gone. `repository` names the place in Git from which the files come.
    """

    identity: SetIdentity
    files: tuple[Path, ...]
    partial: bool = False
    repository: str = ""

    def to_json(self) -> str:
        """The set as the store remembers it."""
        return json.dumps(
            {
                "id": self.identity.id,
                "source": self.identity.source,
                "files": [str(file) for file in self.files],
                "repository": self.repository,
            }
        )

    def as_value(self) -> dict[str, Any]:
        """The set as JSON output shows it."""
        return {"id": self.identity.id, "files": [str(file) for file in self.files]}

    @classmethod
    def from_json(cls, text: str | None) -> DocumentSet | None:
        """What `to_json` wrote; None where there is nothing, or nothing that can be used."""
        try:
            body = json.loads(text or "")
            files = tuple(Path(file) for file in body["files"])
            identity = SetIdentity(str(body["id"]), str(body["source"]))
            return cls(identity, files, repository=str(body.get("repository", "")))
        except (ValueError, TypeError, KeyError):
            return None


def set_of(
    files: Sequence[Path], given: str = "", last: DocumentSet | None = None, *, keep: bool = True
) -> DocumentSet:
    """The set that consists of `files`, or that they are a part of.

    `given` is MOORAGE_OWNER; `last` is the set that was last run from this state directory. It is
    the result if no files are given, or if all of them lie within it. With `keep=False` no id file
    is written.

    Raises:
        NoIdentityError: there are no documents, or the id file cannot be read or written.
    """
    absolute = tuple(sorted({_absolute(file) for file in files}))
    if last is not None and given in ("", last.identity.id):
        within = [any(is_within(file, each) for each in last.files) for file in absolute]
        if not absolute or (all(within) and absolute != last.files):
            # A link to the documents is another path for the same files.
            part = {*map(_real, absolute)} != {*map(_real, last.files)}
            return DocumentSet(
                last.identity, absolute or last.files, partial=part and bool(absolute)
            )
    return DocumentSet(identity_of(files, given, keep=keep), absolute)


def identity_of(files: Sequence[Path], given: str = "", *, keep: bool = True) -> SetIdentity:
    """The identity of the documents in `files` (YAML files and folders of them).

    `given` is MOORAGE_OWNER, which wins. The id file is only written where nothing else serves.

    Raises:
        NoIdentityError: there are no documents, or the id file cannot be read or written.
    """
    if given:
        return SetIdentity(given, "MOORAGE_OWNER")
    paths = sorted({_absolute(file) for file in files})
    if not paths:
        raise NoIdentityError("there are no documents: say which, -f FILE or -f FOLDER")
    folder = _common_folder(paths)
    if (folder / ID_FILE).exists():
        return _from_file(folder, paths, _read(folder / ID_FILE), keep=keep)
    repository = _repository(folder)
    remote = _remote(repository) if repository else None
    if repository and remote:
        names = [path.relative_to(repository).as_posix() for path in paths]
        return SetIdentity(
            _named(paths, remote, *names),
            f"the Git remote {remote} and the path {', '.join(names)}",
        )
    return _from_file(folder, paths, _make(folder, keep=keep), keep=keep)


def has_identity(path: Path) -> bool:
    """Whether documents in a checkout have an identity without a new id file, which the next
    checkout would not have.
    """
    folder = _common_folder([_absolute(path)])
    repository = _repository(folder)
    return (folder / ID_FILE).exists() or bool(repository and _remote(repository))


def _absolute(path: Path) -> Path:
    """The absolute path, with all links followed except the last: a mounted ConfigMap links each
    file to a folder whose name changes with every version.
    """
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - unlike resolve, it leaves the last link
    return whole.parent.resolve() / whole.name


def is_within(file: Path, folder: Path) -> bool:
    """Whether the file lies in the folder, or is it, by any links."""
    return file.is_relative_to(folder) or _real(file).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike resolve, for a circle of links too


def _common_folder(paths: Sequence[Path]) -> Path:
    folders = [path if path.is_dir() else path.parent for path in paths]
    first = folders[0]
    return next(
        each
        for each in (first, *first.parents)
        if all(folder.is_relative_to(each) for folder in folders)
    )


def _named(paths: Sequence[Path], *parts: str) -> str:
    """A name that people recognise, and enough of a hash to keep sets apart."""
    path = paths[0] if len(paths) == 1 else _common_folder(paths)
    name = path.name if path.is_dir() else path.stem
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-") or "documents"
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{slug}-{digest[:12]}"


# Git, read from its files: the `git` command may be absent, and refuses folders of another user.


def _repository(folder: Path) -> Path | None:
    """The work tree around `folder`."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)


def _remote(repository: Path) -> str | None:
    """The address of `origin`, or of the only remote, without scheme, user and ending; None where
    there is none, or where it is a folder, which means something else on each machine.
    """
    try:
        text = _text(_git_folder(repository) / "config")
    except (OSError, RuntimeError):  # RuntimeError: links that lead in a circle
        return None
    remotes: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if header := re.match(r'\s*\[(?:remote "(?P<name>[^"]+)")?', line):
            section = header["name"] or ""
        elif section and (found := re.match(r"\s*url\s*=\s*(?P<url>.+)", line)):
            remotes.setdefault(section, found["url"].strip().strip('"'))
    only = next(iter(remotes.values())) if len(remotes) == 1 else ""
    return _address(remotes.get("origin") or only)


def _git_folder(repository: Path) -> Path:
    """The folder with Git's configuration: in a linked work tree or submodule, `.git` is a file."""
    git = repository / ".git"
    if git.is_file():
        git = (repository / _text(git).removeprefix("gitdir:").strip()).resolve()
        if (git / "commondir").is_file():
            git = (git / _text(git / "commondir").strip()).resolve()
    return git


def _text(path: Path) -> str:
    """A file of Git. Whoever made the repository may have written anything there, so no more than
    Git itself would write is read, and what is no UTF-8 cannot end the command.

    Raises:
        OSError: it cannot be read, or holds what no path and no configuration may hold.
    """
    data = read_regular(path, GIT_BYTES + 1)
    if len(data) > GIT_BYTES or b"\0" in data:
        raise OSError(errno.EINVAL, "is no text of Git", str(path))
    return data.decode("utf-8", errors="replace")


def _address(url: str) -> str | None:
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        host, path = ("" if parts.scheme == "file" else parts.hostname or ""), parts.path
    else:
        match = _SCP.fullmatch(url)
        host, path = (match["host"], match["path"]) if match else ("", "")
    host = _HOSTS.get(host.lower(), host.lower())
    path = path.strip("/").removesuffix(".git").strip("/")
    if host == "dev.azure.com":
        path = path.removeprefix("v3/").replace("/_git/", "/")
    return f"{host}/{path}" if host and path and len(host) > 1 else None


# The id file.


@dataclass(frozen=True)
class _Made:
    """What the file holds: the id, and where it was made, which tells a copy from a clone."""

    id: str
    machine: str
    folder: Path


def _from_file(folder: Path, paths: Sequence[Path], made: _Made, *, keep: bool) -> SetIdentity:
    if _is_copy(made, folder):
        made = _make(folder, keep=keep)
    names = [path.relative_to(folder).as_posix() for path in paths]
    return SetIdentity(_named(paths, made.id, *names), f"the id in {folder / ID_FILE}")


def _is_copy(made: _Made, folder: Path) -> bool:
    """Whether the folder was copied on this machine from one that is still there: a second set.

    A clone of the same repository is the same set, and so is what came from another machine.
    """
    if made.machine != _machine() or made.folder == folder:
        return False
    try:
        same = _read(made.folder / ID_FILE).id == made.id
    except NoIdentityError:
        return False  # it was moved
    here, there = _repository(folder), _repository(made.folder)
    return same and (here == there or here is None or there is None)


def _read(path: Path) -> _Made:
    try:
        if not path.is_file() or path.stat().st_size > 4096:
            raise NoIdentityError(f"{path} is no file that Moorage wrote; {_ADVICE}")
        body = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        raise NoIdentityError(f"{path} cannot be read ({_word(error)}); {_ADVICE}") from None
    # Nothing but plain values is looked at: an alias of aliases is endless as text.
    held = {name: str(body.get(name)) for name in _FIELDS if _is_plain(body, name)}
    value = held.get("id", "")
    if not _ID.fullmatch(value):
        raise NoIdentityError(f"{path} holds no id of 16 hexadecimal digits; {_ADVICE}")
    return _Made(value, held.get("machine", ""), Path(held.get("folder", "")))


def _is_plain(body: object, name: str) -> bool:
    return isinstance(body, dict) and isinstance(body.get(name), str | int)


def _make(folder: Path, *, keep: bool) -> _Made:
    made = _Made(secrets.token_hex(8), _machine(), folder)
    if not keep:
        return made
    text = f"{_HEAD}id: '{made.id}'\nmachine: '{made.machine}'\nfolder: '{made.folder}'\n"
    try:
        (folder / ID_FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise NoIdentityError(
            f"these documents have no identity: they are in no Git repository with a remote, and"
            f" {folder / ID_FILE} cannot be written ({_word(error)}); {_ADVICE}"
        ) from None
    return made


_ADVICE = "restore it, or give an identity with MOORAGE_OWNER or spec.owner of the Environment"


def _machine() -> str:
    """A digest that tells this machine from others without naming it."""
    try:
        name = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        name = f"{uuid.getnode():x}"
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _word(error: Exception) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else type(error).__name__
