"""`moorage status`: what the daemon last observed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import (
    Output,
    StateDir,
    Target,
    check_output,
    daemon_facts,
    open_store,
    print_json,
)

if TYPE_CHECKING:
    from rich.console import Group

GOOD = {"True": "green", "False": "red", "Unknown": "yellow"}
ABNORMAL_WHEN_TRUE = ("Stalled", "Drifted")
NEUTRAL = ("Progressing",)  # it is neither good nor bad to be on the way


def status(
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and show changes as they come.")
    ] = False,
) -> None:
    """Show conditions, revisions and replicas. It shows what the daemon last observed."""
    from reconciler.cli.console import Console

    if check_output(output):
        print_json(_read(target, state_dir))
        return
    console = Console()
    if not watch:
        console.print(render(_read(target, state_dir)))
        return
    from rich.live import Live

    with Live(
        render(_read(target, state_dir)),
        console=console,
        auto_refresh=False,
        screen=console.is_terminal,
    ) as live:
        while True:
            time.sleep(1)
            live.update(render(_read(target, state_dir)), refresh=True)


def _read(target: Target, state_dir: StateDir) -> dict[str, Any]:
    from reconciler.web.status import status_of

    store, title, folder = open_store(target, state_dir)
    return status_of(store, title, daemon_facts(folder))


def render(value: Mapping[str, Any]) -> Group:
    """The status as lines for a person."""
    from rich.console import Group
    from rich.text import Text

    daemon = value["daemon"]
    running = (
        f"running (pid {daemon['pid']})"
        if daemon["running"]
        else "not running: what follows is what it last saw"
    )
    parts: list[Any] = [Text(f"target: {value['target']}   daemon: {running}")]
    parts += [Text(f"! {problem}", style="red") for problem in value.get("problems", ())]
    if not value["documents"]:
        parts.append(Text("nothing has been observed yet; `moorage up -f FILE` begins"))
    for document in value["documents"]:
        parts += [Text(""), *_document(document)]
    return Group(*parts)


def _document(document: Mapping[str, Any]) -> Iterator[Any]:
    from rich.text import Text

    seen = document["observedGeneration"]
    note = "" if seen == document["generation"] else f", last observed {seen}"
    yield Text(
        f"{document['kind']} {document['name']}  (generation {document['generation']}{note})",
        style="bold",
    )
    for condition in document["conditions"]:
        good = condition["status"]
        if condition["type"] in ABNORMAL_WHEN_TRUE:
            good = {"True": "False", "False": "True"}.get(good, good)
        line = Text(f"  {condition['type']:<18}")
        style = "" if condition["type"] in NEUTRAL else GOOD.get(good, "")
        line.append(f"{condition['status']:<8}", style=style)
        line.append(
            f"{condition['reason']}{': ' + condition['message'] if condition['message'] else ''}"
        )
        yield line
    if document["kind"] == "InferenceService":
        yield from _service(document)


def _service(document: Mapping[str, Any]) -> Iterator[Any]:
    from rich.padding import Padding
    from rich.text import Text

    yield Text(f"  endpoint          {document['endpoint'] or '(none yet)'}")
    if document.get("lookedAt"):
        yield Text(f"  looked at         {_age(document['lookedAt'])} ago")
    if document["models"]:
        yield Text(f"  models            {', '.join(document['models'])}")
    if document["revisions"]:
        yield Padding(_revisions(document["revisions"]), (0, 0, 0, 2))
    if document["replicas"]:
        yield Padding(_replicas(document["replicas"]), (0, 0, 0, 2))


def _age(stamp: str) -> str:
    """How long ago that was, roughly."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _revisions(rows: list[Mapping[str, Any]]) -> Any:
    table = _table("revision", "weight", "health", "state", "serving")
    for row in rows:
        weight = f"{row['trafficWeight']} %"
        table.add_row(
            row["name"],
            weight,
            row["healthState"],
            row["runningState"],
            "yes" if row["serving"] else "no",
        )
    return table


def _replicas(rows: list[Mapping[str, Any]]) -> Any:
    table = _table("replica", "ready", "pid", "started", "adapters")
    for row in rows:
        adapters = ", ".join(map(_adapter, row["adapters"]))
        started = f"{row['startedAt'] or '-'}{_startup(row.get('startup'))}"
        table.add_row(
            row["name"], "yes" if row["ready"] else "no", str(row["pid"] or "-"), started, adapters
        )
    return table


def _startup(startup: Mapping[str, Any] | None) -> str:
    """The time of the cold start, and the predicted time."""
    if not startup or startup["seconds"] is None:
        return ""
    return f" in {startup['seconds']:.0f} s ({startup['predictedSeconds']} s predicted)"


def _adapter(row: Mapping[str, Any]) -> str:
    """`name@digest` of what answers, `+digest` of a canary beside it, and how it stands where not
    all is well.
    """
    canary = row.get("canary")
    text = f"{row['name']}@{(row['digest'] or '-')[:12]}" + (
        f"+{canary['digest'][:12]}" if canary else ""
    )
    troubles = {each["state"].lower() for each in (row, canary or row)} - {"loaded"}
    return f"{text} ({', '.join(sorted(troubles))})" if troubles else text


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
