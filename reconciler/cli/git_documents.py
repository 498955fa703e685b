"""`moorage up --git` and `moorage plan --git`: documents from a repository in place of files."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import Files, manifest_of
from reconciler.cli.durations import DURATION, duration
from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.settings import Settings
    from reconciler.sources.git import GitCheckout

Git = Annotated[
    str,
    typer.Option(
        "--git", help="Take the documents from a Git repository, not from -f.", metavar="URL"
    ),
]
Branch = Annotated[
    str,
    typer.Option(
        help="With --git: the branch; the repository's own if left out.", metavar="BRANCH"
    ),
]
Folder = Annotated[
    str,
    typer.Option(
        "--path",
        help="With --git: the file or folder with the documents (default: its root).",
        metavar="PATH",
    ),
]
Every = Annotated[
    float,
    typer.Option(
        "--git-every",
        help="With --git: how often to look for a new commit.",
        parser=duration(),
        metavar=DURATION,
    ),
]


def planned_from(settings: Settings, file: Files, url: str, branch: str, path: str) -> GitCheckout:
    """The newest commit, in a checkout of its own, which moves nothing under a daemon that runs."""
    if file:
        raise CommandError("Say -f or --git, not both.", Exit.INVALID)
    return checked_out(settings, url, branch, path, "cache/plan")


def checked_out(
    settings: Settings, url: str, branch: str, path: str, cache: str = "cache"
) -> GitCheckout:
    """The newest commit, on this machine; the last one known where the repository does not answer,
    so that a daemon starts without it. `cache` is a folder below the state directory.
    """
    from reconciler.sources.git import GitCheckout, GitError, GitPlace
    from reconciler.sources.identity import has_identity

    try:
        place = GitPlace(url, branch, path)
    except ValueError as error:
        raise CommandError(str(error), Exit.INVALID) from None
    checkout = GitCheckout(place, settings.state_dir.absolute() / cache, settings.git_token)
    try:
        asyncio.run(checkout.refresh())
    except GitError as error:
        if not checkout.commit or not checkout.documents.exists():
            raise CommandError(error.message) from None
        print(f"{error.message}; commit {checkout.commit[:12]} goes on", file=sys.stderr)
    if not settings.owner and not has_identity(checkout.documents):
        raise CommandError(
            f"{place.shown} has no address from which the identity of its documents can be made:"
            " set MOORAGE_OWNER to a name for this set of documents.",
            Exit.INVALID,
        )
    return checkout


def valid_commit(checkout: GitCheckout, *, once: bool, every: float = 0.0) -> None:
    """Wait until the newest commit has valid documents: a machine that starts again while a commit
    is broken must take the next one by itself.

    Raises:
        ManifestError: with `once`, the documents are not valid.
    """
    from reconciler import supervision
    from reconciler.api.problems import ManifestError
    from reconciler.sources.git import GitError, in_repository

    said = ""
    while True:
        try:
            manifest_of([checkout.documents])
            return
        except ManifestError as error:
            located = checkout.located(error)
            if once:
                raise located from None
        if checkout.commit != said:
            said = checkout.commit
            print(f"commit {said[:12]} is refused; the next one is waited for", file=sys.stderr)
            print(in_repository(str(located)), file=sys.stderr)
        supervision.notify(supervision.STILL_STARTING)
        time.sleep(min(every, supervision.LONGEST_SILENCE))
        with suppress(GitError):
            asyncio.run(checkout.refresh())
