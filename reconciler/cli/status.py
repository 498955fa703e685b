"""`moorage status`: what the daemon last observed. `status_text` makes the text of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    Documents,
    StateDir,
    Target,
    daemon_facts,
    open_store,
)
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import Subject, subject_in
from reconciler.cli.unknown import unknown

if TYPE_CHECKING:
    from rich.text import Text

    from reconciler.cli.output.console import Console
    from reconciler.cli.output.rollout import Rollouts


def status(
    documents: Documents = None,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and show changes as they come.")
    ] = False,
) -> None:
    """Show whether everything serves, why not, and what to do. Then conditions, revisions and
    replicas, as the daemon last observed them. More than three services have a line each; name a
    service to see all of it.
    """
    from reconciler.cli.output.console import Console

    if check_output(output):
        value, subject = read(target, state_dir, documents)
        print_value("Status", value, subject)
        return
    console = Console(highlight=False)

    def text() -> list[Text]:
        return _text(console, target, state_dir, documents)

    if watch:
        _watch(console, text)
    for line in text():
        console.print(line, soft_wrap=True)


def _watch(console: Console, text: Callable[[], list[Text]]) -> None:
    """Until Ctrl-C: a full screen on a terminal; in a pipe, the status again whenever it
    changes.
    """
    from rich.live import Live

    from reconciler.cli.output.layout import fit

    if not console.is_terminal:
        _print_changes(console, text)

    def shown() -> Text:
        return _joined(fit(text(), console.height))

    with Live(shown(), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(1)
            live.update(shown(), refresh=True)


def _print_changes(console: Console, text: Callable[[], list[Text]]) -> None:
    before = ""
    while True:
        now = _joined(text())
        # the time of the last look alone is no change
        plain = "\n".join(
            line for line in now.plain.splitlines() if not line.startswith("  looked at")
        )
        if plain != before:
            console.print(now, soft_wrap=True)
            console.print()
        before = plain
        time.sleep(1)


def _joined(lines: list[Text]) -> Text:
    from rich.text import Text

    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def _text(
    console: Console, target: Target, state_dir: StateDir, documents: Documents
) -> list[Text]:
    from reconciler.cli.output.layout import width_of
    from reconciler.cli.output.status_text import lines_of

    width = width_of(console)
    value, subject = read(target, state_dir, documents)
    moving = rollouts(target, state_dir) if width else {}
    if documents:
        shown = {each["name"] for each in value["documents"]}
        moving = {name: steps for name, steps in moving.items() if name in shown}
    return lines_of(value, str(subject), width, moving, whole=bool(documents))


def rollouts(target: Target, state_dir: StateDir) -> Rollouts:
    """What is under way, which a terminal shows; nothing where no daemon moves it."""
    from reconciler.cli.output.rollout import rollouts_of

    store, title, folder = open_store(target, state_dir)
    if store is None:
        return {}
    try:
        return rollouts_of(store, title) if daemon_facts(folder)["running"] else {}
    finally:
        store.close()


def read(
    target: Target, state_dir: StateDir, documents: Documents = None
) -> tuple[dict[str, Any], Subject]:
    """The status as JSON, of the named `documents` or of all, and whose it is.

    Raises:
        CommandError: there is no document with one of the names.
    """
    from reconciler.sources.pauses import show_pauses
    from reconciler.web.status import status_of

    store, title, folder = open_store(target, state_dir)
    subject = subject_in(store, title)
    value = status_of(store, title, daemon_facts(folder))
    if store is not None:
        show_pauses(value["documents"], store)
        store.close()
    if documents:
        value["documents"] = _named(documents, value["documents"], title)
    return value, subject


def _named(
    names: Sequence[str], documents: Sequence[dict[str, Any]], title: str
) -> list[dict[str, Any]]:
    for name in names:
        if not any(is_named(each, name) for each in documents):
            raise unknown("document", name, (each["name"] for each in documents), title, "")
    return [each for each in documents if any(is_named(each, name) for name in names)]


def is_named(document: Mapping[str, Any], name: str) -> bool:
    """Whether a command line means the document: by its name, or as KIND/NAME."""
    return name in (document["name"], f"{document['kind']}/{document['name']}")
