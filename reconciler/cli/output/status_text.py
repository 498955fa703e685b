"""The text of `moorage status`: the verdict, cause and remedy of what is not well, then the tables.
`status` prints it; `verdict` makes the sentences, `layout` fits them to the place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reconciler.cli.output.ages import age_of, when
from reconciler.cli.output.gateway_lines import gateway_lines
from reconciler.cli.output.layout import Column, hang, heading, table
from reconciler.cli.output.rollout import Rollouts, rollout_lines
from reconciler.cli.output.status_summary import summary_lines
from reconciler.cli.output.verdict import FEW, Complaint, is_good, named, state, troubles, verdict
from reconciler.web.verdict import shorten_ids

if TYPE_CHECKING:
    from rich.text import Text

_COMMAND = re.compile(r"`(moorage [\w -]+)`")
COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}
MOST = 5  # causes with one reason, and names in a line, that a terminal shows
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
    subject: str,
    width: int | None,
    rollouts: Rollouts = MappingProxyType({}),
    *,
    whole: bool = False,
) -> list[Text]:
    """The status as lines; `subject` says whose it is, `width` is that of the terminal, or None for
    a pipe. `rollouts` are under way; only a terminal shows them, because they change all the time.
    `whole` is whether each document is shown with all that is known, however many there are.
    """
    from rich.text import Text

    lines = list(_lines(value, subject, width))
    if rollouts and width:
        lines += [Text(line) for line in ("", *rollout_lines(rollouts, width))]
    documents = value["documents"]
    if whole or sum(each["kind"] == "InferenceService" for each in documents) <= FEW:
        told = {each.message for each in troubles(documents)}
        for document in documents:
            lines += [Text(""), *_document(document, width, told)]
    else:
        lines += summary_lines(documents, width)
    return lines


def _lines(value: Mapping[str, Any], subject: str, width: int | None) -> Iterator[Text]:
    """Whose it is, the verdict, and cause and remedy of what is not well."""
    from rich.text import Text

    documents = value["documents"]
    for line in heading(f"{subject}   daemon: {_daemon(value)}", width):
        yield Text(line, style="dim")
    for line in hang("", verdict(value), width):
        yield Text(line, style=f"bold {_colour(documents)}")
    for problem in value.get("problems", ()):
        commit = value.get("commit")
        what = f"commit {commit[:12]}" if commit else "the last save"
        yield from _styled(hang("! ", f"{what} is refused: {problem}", width), "red")
    groups: dict[tuple[str, str], list[Complaint]] = {}
    for trouble in troubles(documents):
        groups.setdefault((trouble.reason, _sign(trouble)[0]), []).append(trouble)
    for alike in groups.values():
        yield from _causes(alike, width)


def _causes(alike: Sequence[Complaint], width: int | None) -> Iterator[Text]:
    """Causes with one reason, and what to do about them once. A terminal shows the first few; the
    table below has the others.
    """
    from rich.text import Text

    sign, style = _sign(alike[0])
    shown = alike if width is None or len(alike) <= MOST else alike[: MOST - 1]
    for trouble in shown:
        names = trouble.documents
        head = f"{sign} {named(names, len(names) if width is None else MOST)}: "
        message = f"{trouble.reason}: {shorten_ids(trouble.message)}"
        yield from _styled(hang(head, message, width), style)
    if left := [name for each in alike[len(shown) :] for name in each.documents]:
        head = f"{sign} {named(left, MOST)}: "
        yield from _styled(hang(head, f"{alike[0].reason} as well", width), style)
    if sign == "!":
        if alike[0].remedy and not all(map(_is_told, alike)):
            yield from map(Text, hang("  what to do: ", alike[0].remedy, width))
        yield from map(Text, hang("  more: ", f"moorage explain {alike[0].reason}", width))


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
