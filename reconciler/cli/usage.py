"""`moorage usage`: what the callers of gateways have used, from the files on the share."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
    open_store,
    settings_of,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.subject import Subject, subject_in

if TYPE_CHECKING:
    from reconciler.engine.record import ObjectRecord
    from reconciler.kinds.gateway.gateway_usage import By, UsedLines
    from reconciler.settings import Settings
    from serving.gateway.routes import UsageLine

WAYS = ("key", "model", "day")


def usage(
    since: Annotated[
        str, typer.Option(help="A day (2026-11-01) or a number of days (7d).", metavar="SINCE")
    ] = "30d",
    by: Annotated[str, typer.Option(help="key, model or day", metavar="WAY")] = "key",
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Show what callers of gateways have used, by key, model or day."""
    as_json, first = check_output(output), _first_day(since, datetime.now(UTC).date())
    if by not in WAYS:
        raise CommandError(f"--by must be key, model or day, not {by!r}", Exit.INVALID)
    store, title, _ = open_store(target, state_dir)
    records = [record for record in (store.objects() if store else ()) if _is_gateways(record)]
    if not records:
        raise CommandError(
            f"No Environment has a gateway on the {title}, and only gateways count;"
            " docs/gateway.md says how to have one."
        )
    found = asyncio.run(_read(settings_of(target, state_dir), records, first))
    _show(found, cast("By", by), first, as_json, subject_in(store, title))


def _show(
    found: dict[str, UsedLines], by: By, first: date, as_json: bool, subject: Subject
) -> None:
    from reconciler.kinds.gateway.gateway_usage import totals

    rows = {name: totals(each.lines, by) for name, each in sorted(found.items())}
    if as_json:
        value = [
            {
                "environment": name,
                "unreadable": found[name].unreadable,
                "usage": [_value(line, by) for line in lines],
            }
            for name, lines in rows.items()
        ]
        head = {"since": first.isoformat(), "by": by}
        print_value("Usage", {**head, "environments": value}, subject)
        return
    from reconciler.cli.output.console import Console
    from reconciler.cli.output.layout import Column, hang, heading, table, width_of

    console = Console(highlight=False)
    width = width_of(console)
    lines = heading(str(subject), width)
    columns = (
        Column(by),
        Column("requests"),
        Column("input"),
        Column("output"),
        Column("errors", 1),
        Column("wake-ups", 2),
        Column("held", 3),
    )
    for name, used in rows.items():
        title = f"Environment {name}, since {first.isoformat()}; input and output in tokens"
        lines += ["", *hang("", title, width)]
        lines += table(columns, [_cells(line, by) for line in used], width) if used else ["  none"]
        if found[name].unreadable:
            lines.append(f"  {found[name].unreadable} lines or files cannot be read")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _is_gateways(record: ObjectRecord) -> bool:
    from reconciler.api.kinds import Kind

    return record.key.kind == Kind.ROUTES and record.exists


async def _read(
    settings: Settings, records: list[ObjectRecord], since: date
) -> dict[str, UsedLines]:
    from reconciler.arm import ids
    from reconciler.arm.clients import Arm
    from reconciler.arm.share import Share
    from reconciler.kinds.gateway.gateway_usage import read_usage

    async with Arm(settings) as arm:
        found = {}
        for record in records:
            group = ids.part(record.id, "resourceGroups")
            account, name = ids.part(record.id, "storageAccounts"), ids.part(record.id, "shares")
            share = Share(arm, group, account, name)
            found[record.key.name] = await read_usage(share, ids.path_on_share(record.id), since)
        return found


def _first_day(text: str, today: date) -> date:
    if days := re.fullmatch(r"(\d{1,4})d", text, re.ASCII):
        return today - timedelta(days=int(days[1]))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"--since must be a day (2026-11-01) or a number of days (7d), not {text!r}",
            Exit.INVALID,
        ) from None


def _value(line: UsageLine, by: By) -> dict[str, Any]:
    exact = line.model_copy(update={"held_seconds": round(line.held_seconds, 3)})
    value = exact.model_dump(mode="json", by_alias=True)
    others = {"day", "key", "model"} - {by}
    return {name: each for name, each in value.items() if name not in others}


def _cells(line: UsageLine, by: By) -> tuple[str, ...]:
    return (
        getattr(line, by),
        str(line.requests),
        str(line.input_tokens),
        str(line.output_tokens),
        str(line.errors),
        str(line.wakeups),
        f"{line.held_seconds:.0f} s",
    )
