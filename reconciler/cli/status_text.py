"""The text of `moorage status`: the verdict, cause and remedy of what is not well, then the tables.
`status` prints it; `verdict` makes the sentences, `layout` fits them to the place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.cli.ages import age_of, when
from reconciler.cli.gateway_lines import gateway_lines
from reconciler.cli.layout import Column, hang, table
from reconciler.cli.rollout import Rollouts, rollout_lines
from reconciler.cli.verdict import Complaint, is_good, state, troubles, verdict
from reconciler.web.verdict import shorten_ids

if TYPE_CHECKING:
    from rich.text import Text

_COMMAND = re.compile(r"`(moorage [\w -]+)`")
COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
NEUTRAL = ("Progressing",)  # it is neither good nor bad to be on the way
REVISIONS = (
    Column("revision"),
    Column("weight"),
    Column("health", 1),
    Column("state", 3),
    Column("serving", 2),
)
REPLICAS = (
    Column("replica"),
    Column("ready"),
    Column("pid", 5),
    Column("started", 3),
    Column("in", 4),
    Column("adapters", 2),
)


def lines_of(
    value: Mapping[str, Any],
    heading: str,
    width: int | None,
    rollouts: Rollouts = MappingProxyType({}),
) -> list[Text]:
    """The status as lines; `heading` says whose it is, `width` is that of the terminal, or None for
    a pipe. `rollouts` are under way; only a terminal shows them, because they change all the time.
    """
    return list(_lines(value, heading, width, rollouts))


def _lines(
    value: Mapping[str, Any], heading: str, width: int | None, rollouts: Rollouts
) -> Iterator[Text]:
    from rich.text import Text

    documents = value["documents"]
    for line in hang("", f"{heading}   daemon: {_daemon(value)}", width):
        yield Text(line, style="dim")
    for line in hang("", verdict(value), width):
        yield Text(line, style=f"bold {_colour(documents)}")
    for problem in value.get("problems", ()):
        commit = value.get("commit")
        what = f"commit {commit[:12]}" if commit else "the last save"
        yield from _styled(hang("! ", f"{what} is refused: {problem}", width), "red")
    found = troubles(documents)
    for trouble in found:
        sign, style = _sign(trouble)
        head = f"{sign} {', '.join(trouble.documents)}: "
        message = f"{trouble.reason}: {shorten_ids(trouble.message)}"
        yield from _styled(hang(head, message, width), style)
        if sign != "!":
            continue
        if trouble.remedy and not _is_told(trouble):
            yield from map(Text, hang("  what to do: ", trouble.remedy, width))
        yield from map(Text, hang("  more: ", f"moorage explain {trouble.reason}", width))
    if rollouts and width:
        yield Text("")
        yield from map(Text, rollout_lines(rollouts, width))
    told = {trouble.message for trouble in found}
    for document in documents:
        yield Text("")
        yield from _document(document, width, told)


def _is_told(trouble: Complaint) -> bool:
    """Whether the message names the command of the remedy already, with its arguments."""
    commands = _COMMAND.findall(trouble.remedy)
    return bool(commands) and all(f"`{each}" in trouble.message for each in commands)


def _sign(trouble: Complaint) -> tuple[str, str]:
    """What begins the line, and its colour: only what somebody has to mend is red."""
    if trouble.passes:
        return "…", "yellow"
    return ("=", "yellow") if trouble.is_decided else ("!", "red")


def _daemon(value: Mapping[str, Any]) -> str:
    daemon = value["daemon"]
    if daemon["running"]:
        return f"running (pid {daemon['pid']})"
    return "not running: this is what it last saw" if value["documents"] else "not running"


def _colour(documents: Sequence[Mapping[str, Any]]) -> str:
    said = {state(each, "Ready") for each in documents}
    return COLOURS["False" if "False" in said else "Unknown" if "Unknown" in said else "True"]


def _styled(lines: Sequence[str], style: str) -> Iterator[Text]:
    from rich.text import Text

    for line in lines:
        yield Text(line, style=style)


def _document(
    document: Mapping[str, Any], width: int | None, told: Collection[str]
) -> Iterator[Text]:
    seen = document["observedGeneration"]
    note = "" if seen == document["generation"] else f", last observed {seen}"
    title = f"{document['kind']} {document['name']}"
    generation = f"(generation {document['generation']}{note})"
    yield from _styled(hang(f"{title}  ", generation, width), "bold")
    for condition in document["conditions"]:
        yield from _condition(condition, width, told)
    if document["kind"] == "InferenceService":
        yield from _service(document, width)
    elif document.get("gateway"):
        for head, text in gateway_lines(document["gateway"]):
            yield from _styled(hang(head, text, width), "")


def _condition(
    condition: Mapping[str, Any], width: int | None, told: Collection[str]
) -> Iterator[Text]:
    """A condition in a line; a cause that was `told` above is not said again."""
    from rich.text import Text

    style = "" if condition["type"] in NEUTRAL else COLOURS.get(is_good(condition), "")
    head = f"  {condition['type']:<18}{condition['status']:<8}"
    message = f": {shorten_ids(condition['message'])}" if condition["message"] else ""
    bad = is_good(condition) == "False" and condition["message"]
    if bad and any(bad in each for each in told):
        message = " (as above)"
    since = f" ({age_of(condition['lastTransitionTime'])})" if width else ""
    first, *others = hang(head, f"{condition['reason']}{message}{since}", width)
    line = Text(first)
    line.stylize(style, 20, 28)
    yield line
    yield from map(Text, others)


def _service(document: Mapping[str, Any], width: int | None) -> Iterator[Text]:
    from rich.text import Text

    facts = [("endpoint", document["endpoint"] or "(none yet)")]
    if document.get("lookedAt"):
        facts.append(("looked at", when(document["lookedAt"], terminal=width is not None)))
    if kept := document.get("scheduled"):
        count = kept["minReplicas"]
        least = f"at least {count} replica{'s' * (count > 1)} until {kept['until']}"
        facts.append(("schedule", least))
    if document["models"]:
        facts.append(("models", ", ".join(document["models"])))
    for name, text in facts:
        yield from map(Text, hang(f"  {name:<18}", text, width))
    if document["revisions"]:
        yield from _table(REVISIONS, [_revision(each) for each in document["revisions"]], width)
    if document["replicas"]:
        rows = [_replica(each, terminal=width is not None) for each in document["replicas"]]
        yield from _table(REPLICAS, rows, width)


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None
) -> Iterator[Text]:
    from rich.text import Text

    heading, *others = table(columns, rows, width)
    yield Text(heading, style="dim")
    yield from map(Text, others)


def _revision(row: Mapping[str, Any]) -> tuple[str, ...]:
    serving = "yes" if row["serving"] else "no"
    return (
        row["name"],
        f"{row['trafficWeight']} %",
        row["healthState"],
        row["runningState"],
        serving,
    )


def _replica(row: Mapping[str, Any], *, terminal: bool) -> tuple[str, ...]:
    return (
        row["name"],
        "yes" if row["ready"] else "no",
        str(row["pid"] or ""),
        when(row["startedAt"], terminal=terminal),
        _startup(row.get("startup")),
        ", ".join(map(_adapter, row["adapters"])),
    )


def _startup(startup: Mapping[str, Any] | None) -> str:
    """The time of the cold start, and the predicted time; while it starts, its stage."""
    if startup and (stage := startup.get("stage")):
        from serving.catalogue import STAGE_WORDS  # pydantic, which a status seldom needs

        return STAGE_WORDS.get(stage, "")
    if not startup or startup["seconds"] is None:
        return ""
    return f"{startup['seconds']:.0f} s ({startup['predictedSeconds']} s predicted)"


def _adapter(row: Mapping[str, Any]) -> str:
    """`name@digest` of what answers, `+digest` of a canary beside it, and how it stands where not
    all is well.
    """
    canary = row.get("canary")
    text = f"{row['name']}@{(row['digest'] or '-')[:12]}" + (
        f"+{canary['digest'][:12]}" if canary else ""
    )
    bad = {each["state"].lower() for each in (row, canary or row)} - {"loaded"}
    return f"{text} ({', '.join(sorted(bad))})" if bad else text
