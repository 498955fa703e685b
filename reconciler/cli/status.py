"""`moorage status`: what the daemon last observed. `status_text` makes the text of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
    daemon_facts,
    open_store,
)
from reconciler.cli.envelope import Output, check_output, print_value
from reconciler.cli.subject import Subject, subject_in

if TYPE_CHECKING:
    from rich.text import Text

    from reconciler.cli.console import Console
    from reconciler.cli.rollout import Rollouts


def status(
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and show changes as they come.")
    ] = False,
) -> None:
    """Show whether everything serves, why not, and what to do. Then conditions, revisions and
    replicas, as the daemon last observed them.
    """
    from reconciler.cli.console import Console

    if check_output(output):
        value, subject = read(target, state_dir)
        print_value("Status", value, subject)
        return
    console = Console(highlight=False)
    if watch:
        _watch(console, target, state_dir)
    for line in _text(console, target, state_dir):
        console.print(line, soft_wrap=True)


def _watch(console: Console, target: Target, state_dir: StateDir) -> None:
    """Until Ctrl-C: a full screen on a terminal; in a pipe, the status again whenever it
    changes.
    """
    from rich.live import Live

    from reconciler.cli.layout import fit

    if not console.is_terminal:
        _print_changes(console, target, state_dir)

    def shown() -> Text:
        lines = fit(_text(console, target, state_dir), console.height)
        return _joined(lines)

    with Live(shown(), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(1)
            live.update(shown(), refresh=True)


def _print_changes(console: Console, target: Target, state_dir: StateDir) -> None:
    before = ""
    while True:
        text = _joined(_text(console, target, state_dir))
        # the time of the last look alone is no change
        plain = "\n".join(
            line for line in text.plain.splitlines() if not line.startswith("  looked at")
        )
        if plain != before:
            console.print(text, soft_wrap=True)
            console.print()
        before = plain
        time.sleep(1)


def _joined(lines: list[Text]) -> Text:
    from rich.text import Text

    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def _text(console: Console, target: Target, state_dir: StateDir) -> list[Text]:
    from reconciler.cli.layout import width_of
    from reconciler.cli.status_text import lines_of

    width = width_of(console)
    value, subject = read(target, state_dir)
    return lines_of(value, str(subject), width, rollouts(target, state_dir) if width else {})


def rollouts(target: Target, state_dir: StateDir) -> Rollouts:
    """What is under way, which a terminal shows; nothing where no daemon moves it."""
    from reconciler.cli.rollout import rollouts_of

    store, title, folder = open_store(target, state_dir)
    if store is None:
        return {}
    try:
        return rollouts_of(store, title) if daemon_facts(folder)["running"] else {}
    finally:
        store.close()


def read(target: Target, state_dir: StateDir) -> tuple[dict[str, Any], Subject]:
    """The status as JSON, and whose it is."""
    from reconciler.sources.orders import show_pauses
    from reconciler.web.status import status_of

    store, title, folder = open_store(target, state_dir)
    subject = subject_in(store, title)
    value = status_of(store, title, daemon_facts(folder))
    if store is not None:
        show_pauses(value["documents"], store)
        store.close()
    return value, subject
