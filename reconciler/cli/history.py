"""`moorage history SERVICE`: the generations of a service that can serve again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    open_store,
)
from reconciler.cli.exits import CommandError
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import subject_in
from reconciler.cli.unknown import check_service

if TYPE_CHECKING:
    from reconciler.api.outputs import AppOutputs
    from reconciler.engine.store import Store
    from reconciler.web.generations import History


def history(
    service: Service, target: Target = None, state_dir: StateDir = None, output: Output = "text"
) -> None:
    """Show the generations of a service that can serve again. A revision that Azure refused to make
    is listed with the cause, without a number.
    """
    as_json = check_output(output)
    store, title, _ = open_store(target, state_dir)
    found = history_of(store, service, title)
    subject = subject_in(store, title)
    if as_json:
        value = [each.as_value() for each in found.rows]
        held = found.app.held or found.held or None
        shown = {"service": service, "held": held, "generations": value}
        shown["attempts"] = [each.as_value() for each in found.attempts]
        print_value("History", shown, subject)
        return
    _show(str(subject), found)


def _show(subject: str, found: History) -> None:
    from reconciler.cli.output.ages import when
    from reconciler.cli.output.console import Console
    from reconciler.cli.output.layout import Column, hang, heading, table, width_of

    console = Console(highlight=False)
    width = width_of(console)
    columns = [
        Column("generation"),
        Column("revision"),
        Column("created", 2),
        Column("state", 1),
        Column("changed", 3),
    ]
    cells = [
        [
            str(each.number or "-"),
            each.revision,
            when(each.created, terminal=bool(width)),
            each.state,
            ", ".join(path.removeprefix("properties.") for path in each.changes),
        ]
        for each in found.listed
    ]
    if any(each.versions for each in found.listed):
        columns.append(Column("adapters", 4))
        for row, each in zip(cells, found.listed, strict=True):
            row.append(", ".join(each.versions))
    rows = [tuple(row) for row in cells]
    lines = [*heading(subject, width), *table(tuple(columns), rows, width, indent=0)]
    for each in found.attempts[:1]:
        lines += hang("", f"{each.revision} was not made: {each.problem}", width)
    if found.held:
        lines += hang("held: ", found.held, width)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def history_of(store: Store | None, service: str, title: str) -> History:
    """The generations of a service that was observed."""
    from reconciler.api.kinds import Kind
    from reconciler.api.outputs import CatalogueOutputs
    from reconciler.web.generations import History, notes_of

    app = app_of(store, service, title)
    assert store is not None
    key = (Kind.CATALOGUE, service)
    record = next((r for r in store.objects() if (r.key.kind, r.key.name) == key), None)
    catalogue = CatalogueOutputs.load(record.outputs) if record and record.exists else None
    return History(app, catalogue, notes_of(store, service))


def app_of(store: Store | None, service: str, title: str) -> AppOutputs:
    """What was last seen of the service's container app."""
    from reconciler.api.kinds import Kind
    from reconciler.api.outputs import AppOutputs

    records = check_service(store, service, title).objects()
    record = next((r for r in records if (r.key.kind, r.key.name) == (Kind.APP, service)), None)
    app = AppOutputs.load(record.outputs) if record and record.exists else None
    if app is None or not app.arm.revisions:
        raise CommandError(f"{service} has no revision yet; `moorage status` says why.")
    return app
