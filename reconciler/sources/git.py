"""Documents from a Git repository: a checkout of each commit in a folder of its own, and the link
`current` that leads to the newest. `edges.git_repository` asks for new commits.

The folders of a commit never change, so a pass that reads one sees one commit, whole.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from reconciler.api.problems import ManifestError
from reconciler.api.reasons import Reason
from reconciler.engine.errors import RetryableError

PATIENCE = 300.0  # seconds for one call of git
KEPT = 3  # commits; a pass may still read the one before
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_CHECKOUT = re.compile(r"\S{0,1000}[\\/]git[\\/][0-9a-f]{16}[\\/](?:[0-9a-f]{40,64}|current)[\\/]")
# A repository must not make git run hooks or programs, or fetch other repositories.
_SAFE = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "gc.auto=0"),
)


class GitError(RetryableError):
    """The repository cannot be read; the message says why, without a secret."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.SOURCE_UNREADABLE, message)


def in_repository(text: str) -> str:
    """A message with paths as they stand in the repository: nobody looks for them in the cache."""
    return _CHECKOUT.sub("", text)


@dataclass(frozen=True)
class GitPlace:
    """Where the documents are. `path` is a file or folder below the repository's root; an empty
    `branch` means the repository's default. Raises ValueError for impossible ones.
    """

    url: str
    branch: str = ""
    path: str = "."

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"--path {self.path} leaves the repository")
        if self.url.startswith("-") or self.branch.startswith("-"):
            raise ValueError("an address or a branch does not begin with '-'")

    @property
    def shown(self) -> str:
        """The address without the name and password in it."""
        parts = urlsplit(self.url)
        if not parts.scheme or parts.username is None:
            return self.url
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class GitCheckout:
    """Keeps the newest commit of `place` below `cache`. `token` is for a repository over HTTPS."""

    def __init__(self, place: GitPlace, cache: Path, token: str = "") -> None:
        self.place, self._token = place, token
        self.pushed = asyncio.Event()  # set by anyone who learns of a push
        key = hashlib.sha256(f"{place.url}\0{place.branch}".encode()).hexdigest()[:16]
        self._home = cache / "git" / key
        self._mirror = self._home / "repository"
        self.current = self._home / "current"
        self.commit = self._linked()

    @property
    def documents(self) -> Path:
        """The file or folder with the documents, in the newest commit."""
        return self.current / self.place.path

    @property
    def shown(self) -> str:
        """The place of the documents, as people read it."""
        path = PurePosixPath(self.place.path)
        return f"{self.place.shown} {path}" if path.parts else self.place.shown

    def located(self, error: ManifestError) -> ManifestError:
        """The same problems with paths in the repository, which people know: not the cache's."""
        roots = (self.current, self.current.resolve())
        found = []
        for problem in error.problems:
            inside = (each for each in roots if problem.file.is_relative_to(each))
            root = next(inside, None)
            file = problem.file.relative_to(root) if root else problem.file
            found.append(problem._replace(file=file))
        return ManifestError(found)

    async def refresh(self) -> bool:
        """Fetch the newest commit. Returns whether it differs from the one before.

        Raises:
            GitError: the repository does not answer, or has no such branch or path.
        """
        return await asyncio.to_thread(self._refresh)

    def _refresh(self) -> bool:
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self._mirror / "HEAD").exists():
            shutil.rmtree(self._mirror, ignore_errors=True)
            self._git("init", "-q", "--bare", str(self._mirror))
        wanted = f"refs/heads/{self.place.branch}" if self.place.branch else "HEAD"
        inside = ("-C", str(self._mirror))
        # `identity` reads the remote from the configuration; the password stays out of it.
        self._git(*inside, "config", "remote.origin.url", self.place.shown)
        self._git(*inside, "fetch", "-q", "--depth", "1", "--no-tags", "--", self.place.url, wanted)
        commit = self._git(*inside, "rev-parse", "FETCH_HEAD^{commit}").strip()
        if not _COMMIT.fullmatch(commit):
            raise GitError(f"{self.place.shown}: git named no commit")
        if commit == self.commit and self.documents.exists():
            return False
        folder = self._home / commit
        if not folder.exists():
            self._git(*inside, "worktree", "prune")
            # Checked out aside and moved, so that half a checkout never has a commit's name.
            partial = self._home / "partial"
            shutil.rmtree(partial, ignore_errors=True)
            self._git(*inside, "worktree", "add", "-q", "-f", "--detach", str(partial), commit)
            self._git(*inside, "worktree", "move", str(partial), str(folder))
        if not (folder / self.place.path).exists():
            raise GitError(f"{self.place.shown} has no {self.place.path} in commit {commit[:12]}")
        self._link(commit)
        self._forget()
        return True

    def _link(self, commit: str) -> None:
        """Point `current` to the commit atomically."""
        fresh = self._home / "next"
        fresh.unlink(missing_ok=True)
        try:
            fresh.symlink_to(commit, target_is_directory=True)
        except OSError as error:
            raise GitError(f"{fresh}: links cannot be made here ({error.strerror})") from None
        fresh.replace(self.current)
        self.commit = commit

    def _linked(self) -> str:
        try:
            name = os.readlink(self.current)  # noqa: PTH115 - the text, not the path
        except OSError:
            return ""
        return name if _COMMIT.fullmatch(name) else ""

    def _forget(self) -> None:
        """Remove the folders of old commits."""
        known = [each for each in self._home.iterdir() if _COMMIT.fullmatch(each.name)]
        known.sort(key=lambda each: each.stat().st_mtime)
        for folder in known[:-KEPT]:
            if folder.name != self.commit:
                shutil.rmtree(folder, ignore_errors=True)

    def _git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", *_SAFE, *arguments],
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=PATIENCE,
                check=False,
                stdin=subprocess.DEVNULL,
                env=os.environ | self._environment(),
            )
        except FileNotFoundError:
            raise GitError("--git needs the command `git`, which is not installed") from None
        except subprocess.TimeoutExpired:
            raise GitError(f"{self.place.shown}: git took longer than {PATIENCE:.0f} s") from None
        if done.returncode:
            raise GitError(f"{self.place.shown}: {self._why(done.stderr)}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Variables with which git asks no questions. They hold the token, because other users of
        the machine could read it in an argument.
        """
        found = {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
            "LC_ALL": "C",
        }
        if self._token and self.place.url.startswith("https://"):
            basic = base64.b64encode(f"x-access-token:{self._token}".encode()).decode()
            found |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "http.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
            }
        return found

    def _why(self, said: str) -> str:
        """Git's first error line, without a secret."""
        text = said.replace(self.place.url, self.place.shown)
        if self._token:
            text = text.replace(self._token, "(secret)")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        marked = [line for line in lines if line.startswith(("fatal:", "error:", "ERROR:"))]
        why = (marked or lines or ["git failed"])[0].removeprefix("fatal: ")[:300]
        if "remote ref HEAD" in why:  # the default branch of an empty, or wrongly made, repository
            return f"{why}: it has no default branch; name one with --branch"
        return why
