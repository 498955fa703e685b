"""Many documents as `moorage status` shows them: a line each. `status_text` prints it where there
are too many to show all that is known of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.cli.output.layout import Column, hang, table
from reconciler.cli.output.verdict import reason, state
from reconciler.web.verdict import SHORT

if TYPE_CHECKING:
    from rich.text import Text

GOOD = ("AllGood", "InSync")
ENVIRONMENTS = (
    Column("environment"),
    Column("ready"),
    Column("synced", 1),
    Column("reason", 2),
    Column("gateway", 3),
)
SERVICES = (
    Column("service"),
    Column("ready"),
    Column("synced", 1),
    Column("replicas", 2),
    Column("reason", 3),
    Column("revision", 5),
    Column("adapters", 4),
    Column("endpoint", 6),
)
MORE = "`moorage status NAME` shows conditions, revisions and replicas"


def summary_lines(documents: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[Text]:
    """A table of the Environments and one of the services, each after an empty line."""
    from rich.text import Text

    services = [each for each in documents if each["kind"] == "InferenceService"]
    others = [each for each in documents if each["kind"] != "InferenceService"]
    if others:
        yield from _table(ENVIRONMENTS, others, [_environment(each) for each in others], width)
    yield from _table(SERVICES, services, [_service(each) for each in services], width)
    yield Text("")
    yield from map(Text, hang("", MORE, width))


def _table(
    columns: Sequence[Column],
    documents: Sequence[Mapping[str, Any]],
    rows: Sequence[Sequence[str]],
    width: int | None,
) -> Iterator[Text]:
    """Each row in the colour of its document; the further lines of a row begin with blanks."""
    from rich.text import Text

    yield Text("")
    title, *lines = table(columns, rows, width, indent=0)
    yield Text(title, style="dim")
    styles = iter([_style(each) for each in documents])
    style = ""
    for line in lines:
        if not line.startswith(" "):
            style = next(styles)
        yield Text(line, style=style)


def _style(document: Mapping[str, Any]) -> str:
    ready, synced = state(document, "Ready"), state(document, "Synced")
    if ready == "False":
        return "red"
    return "" if ready == synced == "True" else "yellow"


def _axes(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Name, both axes, and the reason of the one that is not as it should be."""
    words = [reason(document, each) for each in ("Ready", "Synced")]
    told = dict.fromkeys(word for word in words if word not in GOOD)
    axes = [state(document, each) for each in ("Ready", "Synced")]
    return (document["name"], *axes, ", ".join(told))


def _environment(document: Mapping[str, Any]) -> tuple[str, ...]:
    gateway = document.get("gateway") or {}
    return (*_axes(document), gateway.get("endpoint") or "")


def _service(document: Mapping[str, Any]) -> tuple[str, ...]:
    name, ready, synced, why = _axes(document)
    replicas = document["replicas"]
    count = f"{sum(each['ready'] for each in replicas)}/{len(replicas)}" if replicas else "0"
    weights = {
        each["name"].removeprefix(f"{name}--"): each["trafficWeight"]
        for each in document["revisions"]
        if each["trafficWeight"]
    }
    shares = [
        revision if weight == 100 else f"{revision} {weight} %"
        for revision, weight in weights.items()
    ]
    adapters = [f"{each['name']}@{each['digest'][:SHORT]}" for each in document["adapters"]]
    parts = (", ".join(shares), ", ".join(adapters), document["endpoint"] or "")
    return (name, ready, synced, count, why, *parts)
