"""`moorage adapter list|promote|rollback`: the versions of adapters, and a person's decision on a
canary.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    open_store,
    writable_store,
)
from reconciler.cli.exits import CommandError
from reconciler.cli.orders import say_order, when
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import subject_in
from reconciler.cli.pause import pause_note
from reconciler.cli.unknown import check_service, listed

if TYPE_CHECKING:
    from reconciler.api.outputs import AdapterOutputs
    from reconciler.engine.store import Store
    from serving.catalogue import AdapterReport

Name = Annotated[str, typer.Argument(help="The adapter's name.", metavar="NAME")]


def list_adapters(
    service: Annotated[
        str, typer.Argument(help="One InferenceService; all, if left out.", metavar="SERVICE")
    ] = "",
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Show the versions of adapters: the version that each name stands for, canaries, and decisions
    that differ from a document.
    """
    as_json = check_output(output)
    store, title, _ = open_store(target, state_dir)
    if service:
        check_service(store, service, title)
    rows = [row for row in _rows(store) if service in ("", row["service"])]
    if as_json:
        print_value("AdapterList", {"adapters": rows}, subject_in(store, title))
    else:
        _show(rows, str(subject_in(store, title)))


def promote(
    service: Service,
    name: Name,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Promote the canary of an adapter now. After a rollback by hand, return to the version that
    the document asks for.
    """
    _order("promote", service, name, target, state_dir, as_json=check_output(output))


def rollback(
    service: Service,
    name: Name,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Roll the canary of an adapter back now. Without a canary, return to the version that was good
    before. The decision holds until the document changes.
    """
    _order("rollback", service, name, target, state_dir, as_json=check_output(output))


def _order(
    action: Literal["promote", "rollback"],
    service: str,
    name: str,
    target: Target,
    state_dir: StateDir,
    *,
    as_json: bool,
) -> None:
    from reconciler.api.resources import Order
    from reconciler.engine.external import DocumentRef
    from reconciler.sources.decisions import caller
    from reconciler.sources.orders import give_order

    found, title, folder = open_store(target, state_dir)
    readable = check_service(found, service, title)
    rows = {row["name"]: row for row in _rows(readable) if row["service"] == service}
    if (row := rows.get(name)) is None:
        there = listed("adapters", name, [*rows])
        raise CommandError(f"There is no adapter {name!r} of {service} on the {title}; {there}")
    if problem := _pointless(action, row):
        raise CommandError(f"adapter {name} of {service}: {problem}")
    key, subject = readable.target, subject_in(readable, title)
    readable.close()
    with writable_store(folder, key) as store:
        order = Order(action, row["asked"], _after(row["held"]))
        give_order(store, service, name, order, caller())
        paused = pause_note(store, DocumentRef("InferenceService", service))
    source = _agreeing(action, row)
    details = {"document": f"InferenceService/{service}", "adapter": name, "source": source}
    acts = f"the daemon acts on it {when(folder, paused=bool(paused))}"
    sentence = f"{action} {name} of {service} on the {title}: {acts}"
    if source:
        sentence += "\n" + _patch(row, source)
    say_order(f"adapter {action}", details, sentence, subject, folder, as_json=as_json, note=paused)


def _after(held: Mapping[str, Any] | None) -> float:
    """The time of an order: now, but always later than the decision before it, even on a machine
    whose clock is slow.
    """
    decided = datetime.fromisoformat(held["at"]).timestamp() + 1.0 if held else 0.0
    return round(max(time.time(), decided), 3)


def _pointless(action: str, row: Mapping[str, Any]) -> str:
    """Why there is nothing to do; empty when there is."""
    trial, held = row["documentCanary"] is not None, (row["held"] or {}).get("outcome")
    if action == "promote":
        if trial:
            return "its canary has been promoted already" if held == "Promoted" else ""
        return "" if held else "it has no canary"
    if held == "RolledBack":
        return "it has been rolled back already"
    return "" if trial or row["lastGood"] else "there is no version to go back to"


def _agreeing(action: str, row: Mapping[str, Any]) -> str | None:
    """The source with which the document agrees with the order; None where it agrees already."""
    canary = row["documentCanary"]
    if action == "promote":
        return str(canary["source"]) if canary else None
    return str(row["source"]) if canary else f"share://{row['lastGoodPath']}"


def _patch(row: Mapping[str, Any], source: str) -> str:
    """The edit after which the document agrees with the order; the order holds until then."""
    return (
        "This decision holds until the document changes. To make the document agree with it:\n\n"
        f"spec:\n  adapters:\n    - name: {row['name']}\n      source: {source}"
        + ("   # and remove canary" if row["documentCanary"] else "")
    )


# The fields of an adapter, also where they are null.
COLUMNS = (
    "name",
    "digest",
    "source",
    "asked",
    "lastGood",
    "lastGoodPath",
    "canary",
    "documentCanary",
    "held",
)


def _rows(store: Store | None) -> Iterator[dict[str, Any]]:
    """One row for each adapter of each service, from the last observation."""
    from reconciler.api.kinds import Kind
    from reconciler.api.outputs import AppOutputs, CatalogueOutputs

    if store is None:
        return
    records = {record.key: record for record in store.objects()}
    for key, record in records.items():
        if key.kind != Kind.CATALOGUE or not record.exists:
            continue
        catalogue = CatalogueOutputs.load(record.outputs)
        app_record = records.get(key._replace(kind=Kind.APP))
        seen = AppOutputs.load(app_record.outputs) if app_record else None
        for adapter in catalogue.adapters if catalogue else ():
            reports = [
                one
                for replica in (seen.replicas if seen else ())
                for one in replica.adapters
                if one.name == adapter.name
            ]
            yield {"service": key.name, **_row(adapter, reports)}


def _row(adapter: AdapterOutputs, reports: list[AdapterReport]) -> dict[str, Any]:
    row: dict[str, Any] = {**dict.fromkeys(COLUMNS), **adapter.dump()}
    row["replicas"] = {
        "serving": sum(one.digest == adapter.digest for one in reports),
        "all": len(reports),
    }
    mine = [one.canary for one in reports if one.canary]
    if adapter.canary is None and mine:
        # Promoted or rolled back: replicas answer with it until they have read the new catalogue.
        row["canary"] = {"digest": mine[0].digest, "weight": None}
    if row["canary"]:
        row["canary"] |= {
            "requests": sum(each.requests for each in mine),
            "errors": sum(each.errors for each in mine),
            "serving": sum(each.state == "Loaded" for each in mine),
            "message": "; ".join(sorted({m.message for m in mine if m.state == "Failed"})),
        }
    return row


def _show(rows: list[dict[str, Any]], subject: str) -> None:
    from reconciler.cli.output.console import Console
    from reconciler.cli.output.layout import Column, heading, table, width_of

    console = Console(highlight=False)
    width = width_of(console)
    columns = (
        Column("service"),
        Column("adapter"),
        Column("version"),
        Column("replicas", 3),
        Column("canary", 2),
        Column("held", 1),
    )
    cells = []
    for row in rows:
        replicas = f"{row['replicas']['serving']} of {row['replicas']['all']}"
        held = f"{row['held']['outcome']}: {row['held']['message']}" if row["held"] else ""
        version = row["digest"][:12]
        cells.append((row["service"], row["name"], version, replicas, _canary_text(row), held))
    lines = table(columns, cells, width, indent=0) if rows else ["there is no adapter"]
    for line in [*heading(subject, width), *lines]:
        console.print(line, markup=False, soft_wrap=True)


def _canary_text(row: Mapping[str, Any]) -> str:
    canary = row["canary"]
    if not canary:
        return ""
    share = "ended, still" if canary["weight"] is None else f"{canary['weight']} %"
    text = f"{canary['digest'][:12]} {share} on {canary['serving']} of {row['replicas']['all']}"
    text += f", {canary['requests']} requests, {canary['errors']} failed"
    return f"{text}; {canary['message']}" if canary["message"] else text
