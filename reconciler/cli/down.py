"""`moorage down`: delete the resources that Moorage created, in the order that Azure demands. Data
stays without --purge-data. An adopted container app is released, and the resources that it uses
stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    Files,
    StateDir,
    Target,
    Yes,
    ask,
    settings_of,
)
from reconciler.cli.durations import Timeout
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import Subject
from reconciler.cli.place import expanded

if TYPE_CHECKING:
    from reconciler.cli.output.narrator import Narrator
    from reconciler.daemon import Daemon
    from reconciler.engine.controller import Watcher
    from reconciler.engine.external import ObjectKey
    from reconciler.engine.plan import PlanLine
    from reconciler.engine.result import Outcome
    from reconciler.engine.store import Store
    from reconciler.settings import Settings
    from reconciler.sources.identity import DocumentSet


def down(
    file: Files = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    purge_data: Annotated[
        bool, typer.Option("--purge-data", help="Delete the storage account and its share too.")
    ] = False,
    yes: Yes = False,
    timeout: Timeout = 1800.0,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Delete what a set of documents created. The set is that of -f, or the set that was last run
    from this state directory. With -o json the command cannot ask and needs -y.
    """
    from reconciler.lock import Locked

    as_json = check_output(output)
    files = [expanded(each) for each in file or ()]
    settings = settings_of(target, state_dir, files)
    try:
        raise typer.Exit(
            asyncio.run(
                _down(
                    settings,
                    files,
                    dry_run=dry_run,
                    purge=purge_data,
                    yes=yes,
                    timeout=timeout,
                    as_json=as_json,
                )
            )
        )
    except Locked as error:
        raise CommandError(
            f"{error}: stop it first, or it would create everything again."
        ) from None


async def _down(
    settings: Settings,
    files: Sequence[Path],
    *,
    dry_run: bool,
    purge: bool,
    yes: bool,
    timeout: float,
    as_json: bool,
) -> int:
    from reconciler import logs
    from reconciler.cli.output.narrator import Narrator
    from reconciler.cli.output.plan_view import as_value
    from reconciler.daemon import lock
    from reconciler.engine.store import Store

    logs.configure(level="ERROR")
    path, key = settings.daemon_dir / "state.db", settings.target_key
    narrator = Narrator(settings, quiet=as_json)
    code: int = Exit.DONE
    # Showing takes nothing from a daemon that runs, so it may run beside it.
    with nullcontext() if dry_run else lock(settings):
        if dry_run or not yes:
            # On a copy: until somebody agrees, no status may say that anything is being deleted.
            copy = Store.copy(path, key)
            async with _abandoned(settings, files, copy, narrator, purge) as (_, lines, subject):
                if not as_json:
                    _show(lines, subject, files, settings)
        if not yes and not dry_run and lines:
            _agree(settings, as_json=as_json)
        if not dry_run and (yes or lines):
            kept = Store.keep(path, key)
            async with _abandoned(settings, files, kept, narrator, purge) as (
                daemon,
                lines,
                subject,
            ):
                if yes and not as_json:
                    _show(lines, subject, files, settings)
                for line in lines:
                    daemon.controller.approve(line.key)
                code = await _until_gone(daemon, timeout) if lines else Exit.DONE
    if as_json:
        gone = code == Exit.DONE and not dry_run
        value = {"changes": [as_value(line) for line in lines], "done": gone}
        print_value("Removal", value, subject)
    elif lines:
        narrator.rest()
        say(_ended(code, dry_run=dry_run, purge=purge))
    if settings.runs_here and not dry_run and not as_json and code == Exit.DONE:
        say(_STAYS_HERE)
    return code


@asynccontextmanager
async def _abandoned(
    settings: Settings, files: Sequence[Path], store: Store, narrator: Narrator, purge: bool
) -> AsyncIterator[tuple[Daemon, list[PlanLine], Subject]]:
    """A daemon to whose documents nothing belongs any more, and what it deletes for that."""
    from reconciler.daemon import Daemon
    from reconciler.engine.result import Pacing
    from reconciler.single_run import abandon

    documents = _whole(files, settings, store)
    async with Daemon(
        settings,
        [],
        store=store,
        documents=documents,
        pacing=Pacing(grace=0.0, slow=2.0, resync=settings.resync),
        watcher=_watcher(narrator),
    ) as daemon:
        await abandon(daemon, data=purge)
        plan = await daemon.controller.plan()
        lines = [replace(line, problem="") for line in plan if line.action in ("delete", "release")]
        yield daemon, lines, Subject(settings.target_title, documents)


def _watcher(narrator: Narrator) -> Watcher:
    """What is told as it happens. That data stays is told once, at the end, and not for each
    folder.
    """
    from reconciler.api.kinds import Kind
    from reconciler.engine.record import Phase

    data = [kind for kind in Kind if kind.holds_data]

    def saw(key: ObjectKey, outcome: Outcome, took: float) -> None:
        if outcome.phase is not Phase.RETAINED or key.kind not in data:
            narrator.saw(key, outcome, took)

    return saw


_STAYS_HERE = (
    "the local Azure still runs: `moorage local-azure stop` stops it, and its files and keys are in"
    " its state directory until you delete that"
)


def _show(
    lines: Sequence[PlanLine], subject: Subject, files: Sequence[Path], settings: Settings
) -> None:
    """What is deleted, and whose it is where the command line names no documents."""
    from reconciler.cli.output.plan_view import show

    show(lines, subject)
    if files:
        return
    last = f"that was last run from {settings.state_dir}"
    whose = f"{settings.owner} (MOORAGE_OWNER)" if settings.owner else last
    say(f"without -f these are the resources of the set {whose}; -f names another")


def _ended(code: int, *, dry_run: bool, purge: bool) -> str:
    """What is left, in a sentence."""
    if dry_run:
        return "nothing was deleted; without --dry-run this is what would be"
    if code != Exit.DONE:
        return "not everything is deleted; `moorage down` goes on with what is left"
    stays = "the storage account, all on its share and the resource group stay"
    return "deleted" if purge else f"deleted; {stays}, and --purge-data deletes them too"


def _agree(settings: Settings, *, as_json: bool) -> None:
    otherwise = f"This would delete what is listed from the {settings.target_title}."
    if as_json:
        raise CommandError(f"{otherwise} Use -y to do it.", Exit.HUMAN)
    ask("Delete these?", otherwise)


def _whole(files: Sequence[Path], settings: Settings, store: Store) -> DocumentSet:
    """The documents whose resources are deleted: a whole set."""
    from reconciler.sources import sets
    from reconciler.sources.identity import set_of

    last = sets.last(store)
    if not files and last is None and not settings.owner:
        raise CommandError(
            "No documents were given, and this state directory remembers none: nothing is"
            " deleted. Use -f to name the documents whose resources are to be deleted.",
            Exit.INVALID,
        )
    documents = set_of(files, settings.owner, last)
    if documents.partial:
        raise CommandError(
            f"{', '.join(map(str, files))} is a part of the set {documents.identity.id}: take its"
            " documents out to delete what they made, or leave out -f to delete the whole set.",
            Exit.INVALID,
        )
    return documents


async def _until_gone(daemon: Daemon, timeout: float) -> int:
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        code: int = await asyncio.wait_for(daemon.controller.settled(), timeout)
    except TimeoutError:
        code = Exit.TIMED_OUT
    stop.set()
    await running
    return code
