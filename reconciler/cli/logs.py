"""`moorage logs`: a service's console output through the Container Apps log stream, the same on
both targets.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.api.durations import seconds_of
from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    settings_of,
)
from reconciler.cli.durations import DURATION
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import terminal_width
from reconciler.cli.output.log_folds import Fold
from reconciler.cli.output.platform_events import readable
from reconciler.cli.output.subject import subject_of

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm
    from reconciler.settings import Settings

Say = Callable[[str, str, bool], None]  # replica, line, whether there are several replicas
MOST = 300  # lines that the stream keeps
_TIME = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)")


def logs(
    service: Service,
    follow: Annotated[bool, typer.Option("--follow", help="Stay and print what comes.")] = False,
    tail: Annotated[
        int, typer.Option(help="How many old lines.", min=0, max=300, metavar="N")
    ] = 100,
    since: Annotated[
        str,
        typer.Option(
            help="Only lines of the last 90s, 10m or 2h. Azure keeps 300 lines.",
            metavar=DURATION,
        ),
    ] = "",
    grep: Annotated[
        str, typer.Option(help="Only lines that match a regular expression.", metavar="REGEX")
    ] = "",
    system: Annotated[
        bool, typer.Option("--system", help="The platform's events instead of the console.")
    ] = False,
    target: Target = None,
    state_dir: StateDir = None,
    output: Output = "text",
) -> None:
    """Print the log of every replica of a service. A terminal gets lines that differ from the last
    ones in numbers alone as a count; a pipe gets every line.
    """
    as_json, wanted = check_output(output), LineFilter.of(since, grep)
    settings = settings_of(target, state_dir)
    subject = subject_of(settings)
    tail = MOST if since else tail
    rows: list[dict[str, str]] = []
    say: Say = _told if system and sys.stdout.isatty() else _printed
    if as_json:
        say = _printed_as_json if follow else _kept_in(rows)
    else:
        subject.show(aside=True)
    asyncio.run(_print(settings, service, follow, tail, wanted, system, say))
    if as_json and not follow:
        print_value("LogLines", {"service": service, "lines": rows}, subject)


def _printed(replica: str, line: str, several: bool) -> None:
    print(f"{replica}: {line}" if several else line, flush=True)


def _told(_: str, line: str, __: bool) -> None:
    print("\n".join(readable(line, terminal_width() or 80)), flush=True)


def _printed_as_json(replica: str, line: str, _: bool) -> None:
    print(json.dumps({"replica": replica, "line": line}), flush=True)


def _kept_in(rows: list[dict[str, str]]) -> Say:
    return lambda replica, line, _: rows.append({"replica": replica, "line": line})


@dataclass
class LineFilter:
    """Which lines are printed. A line without a time belongs to the line before it."""

    after: float | None
    pattern: re.Pattern[str] | None
    recent: bool = True

    @classmethod
    def of(cls, since: str, grep: str) -> LineFilter:
        """The filter of `--since` and `--grep`; exit code 2 for what cannot be used."""
        seconds = seconds_of(since)
        if since and seconds is None:
            raise CommandError(
                f"--since must be such as 90s, 10m or 2h, not {since!r}", Exit.INVALID
            )
        try:
            pattern = re.compile(grep) if grep else None
        except re.error as error:
            raise CommandError(
                f"--grep {grep!r} is no regular expression: {error}", Exit.INVALID
            ) from None
        return cls(None if seconds is None else time.time() - seconds, pattern)

    def takes(self, line: str) -> bool:
        if self.after is not None:
            at = _time_of(line)
            self.recent = self.recent if at is None else at >= self.after
            if not self.recent:
                return False
        return self.pattern is None or self.pattern.search(line) is not None


def _time_of(line: str) -> float | None:
    """The time at the beginning of a line of the console, or in an event of the platform."""
    match = _TIME.search(line[:200])
    if match is None:
        return None
    try:
        text = f"{match['day']}T{match['clock']}+00:00"
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


async def _print(
    settings: Settings,
    service: str,
    follow: bool,
    tail: int,
    wanted: LineFilter,
    system: bool,
    say: Say,
) -> None:
    from reconciler.arm.clients import Arm
    from reconciler.arm.logs import event_endpoint, log_token
    from reconciler.cli.apps import find_app

    async with Arm(settings) as arm:
        group, app = await find_app(arm, service)
        name = str(app["name"])
        if system:
            streams = [
                (
                    "",
                    event_endpoint(
                        arm, group, name, str(app["properties"].get("eventStreamEndpoint"))
                    ),
                )
            ]
        else:
            streams = await containers(arm, group, name)
        if not streams:
            raise CommandError(
                f"No replica of {service} runs now, so there is no log. `moorage warm {service}`"
                " starts one; --system shows what the platform did."
            )
        token = await log_token(arm, group, name)
        several = len(streams) > 1
        await asyncio.gather(
            *(
                _one(
                    arm,
                    url,
                    token,
                    follow,
                    tail,
                    replace(wanted),
                    partial(_say_one, say, label, several),
                )
                for label, url in streams
            )
        )


def _say_one(say: Say, replica: str, several: bool, line: str) -> None:
    say(replica, line, several)


async def _one(
    arm: Arm,
    url: str,
    token: str,
    follow: bool,
    tail: int,
    wanted: LineFilter,
    say: Callable[[str], None],
) -> None:
    from reconciler.arm.logs import stream_logs

    # whatever reads a pipe gets every line
    fold = Fold(on=sys.stdout.isatty())
    async for line in stream_logs(arm, url, token, follow=follow, tail=tail):
        for shown in fold.lines(line) if wanted.takes(line) else ():
            say(shown)
    for shown in fold.rest():
        say(shown)


async def containers(arm: Arm, group: str, name: str) -> list[tuple[str, str]]:
    from reconciler.arm.apps import list_replicas, list_revisions

    found: list[tuple[str, str]] = []
    for revision in await list_revisions(arm, group, name):
        if (revision.get("properties") or {}).get("active"):
            for replica in await list_replicas(arm, group, name, str(revision["name"])):
                containers: list[dict[str, Any]] = (replica.get("properties") or {}).get(
                    "containers"
                ) or []
                found += [
                    (str(replica["name"]), str(c["logStreamEndpoint"]))
                    for c in containers
                    if c.get("logStreamEndpoint")
                ]
    return found
