"""A plan as JSON and as text. `plan` makes it, `approve` takes the JSON back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.api.outputs import ReplicaRow
    from reconciler.cli.output.subject import Subject
    from reconciler.engine.external import Change, ObjectKey, Transfer
    from reconciler.engine.plan import PlanLine
    from reconciler.kinds.foreseen import ServedAfter

GLYPHS = {
    "create": "+",
    "adopt": "=",
    "update": "~",
    "replace": "!",
    "release": "=",
    "delete": "-",
    "wait": "?",
    "refuse": "x",
    "no-op": " ",
}
USED = "used"
_COMPARED = 20  # causes: a plan of a thousand lines may have as many
HELD = "held"
# Where it is nothing that a run does.
SUMS = {
    "refuse": "{} refused",
    "wait": "{} waiting",
    HELD: "{} not replaced",
    USED: "{} used as before",
}
STYLES = {
    "create": "green",
    "adopt": "yellow",
    "update": "yellow",
    "replace": "red",
    "release": "yellow",
    "delete": "red",
    "wait": "magenta",
    "refuse": "red",
}


def as_value(line: PlanLine) -> dict[str, Any]:
    """A line as JSON, see docs/status.md."""
    from reconciler.kinds.impact import impact_of, plane_of

    return {
        "object": str(line.key),
        "document": str(line.document),
        "action": line.action,
        "plane": plane_of(line.key),
        "class": str(impact_of(line)),
        "effect": line.effect,
        "problem": line.problem,
        "fields": [
            {
                "path": change.path,
                "before": change.before,
                "after": change.after,
                "class": str(change.impact),
                "effect": change.effect,
            }
            for change in _fields(line)
        ],
        "transfer": _transfer_value(line.transfer),
    }


def _fields(line: PlanLine) -> list[Change]:
    """The fields that differ, command lines flag by flag."""
    from reconciler.engine.arguments import by_flag

    return [each for change in line.changes for each in by_flag(change)]


def loaded_value(replicas: Sequence[ReplicaRow]) -> list[dict[str, Any]]:
    """What each replica serves, as JSON."""
    return [
        {
            "replica": replica.name,
            "adapters": [
                {"name": each.name, "digest": each.digest, "state": each.state}
                for each in replica.adapters
            ],
        }
        for replica in replicas
    ]


def times_value(after: ServedAfter | None) -> dict[str, int | str] | None:
    """When a change serves, as JSON."""
    if after is None:
        return None
    return {
        "untilServed": after.until_served,
        "withoutService": after.without_service,
        "basis": after.basis,
        "weight": after.weight,
    }


def _transfer_value(transfer: Transfer | None) -> dict[str, int | bool | None] | None:
    if transfer is None:
        return None
    return {
        "added": transfer.added,
        "changed": transfer.changed,
        "removed": transfer.removed,
        "bytes": transfer.size,
        "seconds": transfer.seconds,
        "measured": transfer.measured,
    }


def show(
    lines: Sequence[PlanLine],
    subject: Subject,
    loaded: Mapping[ObjectKey, Sequence[ReplicaRow]] | None = None,
    times: Mapping[ObjectKey, ServedAfter] | None = None,
) -> None:
    """Print the plan for a person: a glyph, the object, when it serves, its fields, what the
    replicas have `loaded` of a catalogue that changes; and what it comes to.
    """
    from rich.text import Text

    from reconciler.cli.output.console import Console
    from reconciler.cli.output.field_lines import field_lines
    from reconciler.cli.output.layout import hang, width_of
    from reconciler.cli.output.plan_folds import fold, summarize

    subject.show()
    console = Console(highlight=False)
    width = width_of(console)
    causes: list[str] = []
    told_of = [line for line in lines if line.action != "no-op" or line.problem or line.used]
    foreign, shown = fold(told_of)
    for owner, found in foreign.items():
        for each_line in hang("? ", summarize(owner, found), width):
            console.print(Text(each_line, style=STYLES["wait"]), soft_wrap=True)
        for line in found:
            console.print(Text(f"    {line.key}"), soft_wrap=True)
    for line in shown:
        after = (times or {}).get(line.key)
        # How long no replica serves is told already, as the effect of the change.
        told = [str(after)] if after and not after.without_service else []
        glyph = GLYPHS["adopt" if line.used else line.action]
        head, note = f"{glyph} {line.key}", "; ".join([*_notes(line, causes), *told])
        first, *others = hang(f"{head}   ", note, width)
        text = Text(first)
        text.stylize(STYLES.get(line.action, ""), 0, len(head))
        for each in (text, *map(Text, others)):
            console.print(each, soft_wrap=True)
        for change in _fields(line):
            for each_line in field_lines(change, width):
                console.print(Text(each_line), soft_wrap=True)
        for replica in (loaded or {}).get(line.key, ()):
            console.print(Text(f"      {_loaded(replica)}"), soft_wrap=True)
    counted = [_counted(line) for line in lines]
    words = (*GLYPHS, HELD, USED)
    counts = {action: counted.count(action) for action in words if action != "no-op"}
    summary = ", ".join(
        SUMS.get(action, "{} to " + action).format(count)
        for action, count in counts.items()
        if count
    )
    console.print(summary or f"nothing to do: {_at_rest(lines)}")


def _counted(line: PlanLine) -> str:
    from reconciler.engine.plan import HOLDS

    return HELD if line.problem == HOLDS else USED if line.used else line.action


def _at_rest(lines: Sequence[PlanLine]) -> str:
    """How many objects are as the documents say, and how many are not and stay so."""
    others = sum(bool(line.problem) for line in lines)
    said = f"{len(lines) - others} objects are as the documents say"
    return f"{said}, {others} {'is' if others == 1 else 'are'} left alone" if others else said


def _notes(line: PlanLine, causes: list[str]) -> list[str]:
    """What is said beside the object: the class and the words of its effect, what is sent, and what
    holds it up. Each word once, and each of the `causes` in the first line that has it.
    """
    from reconciler.cli.output.repetition import without_repetition
    from reconciler.engine.external import Impact
    from reconciler.kinds.impact import impact_of

    impact, effects = impact_of(line), line.effect if line.effect != line.action else ""
    known = impact is Impact.NONE or str(impact) in (effects, line.action)
    word = "" if known or (line.action == "release" and not line.changes) else str(impact)
    if (line.action == "create" and impact is not Impact.DATA_LOSS) or (word and word in effects):
        word = ""
    effects = "" if effects == "update in place" else effects
    stops = f"{line.key.name} stops serving" if _ends(line) else ""
    problem = without_repetition(line.problem, causes[-_COMPARED:])
    if line.problem and problem == line.problem:
        causes.append(problem)
    return [each for each in (word, effects, stops, _sent(line.transfer), problem) if each]


def _ends(line: PlanLine) -> bool:
    """Whether a service goes with the object."""
    from reconciler.api.kinds import Kind

    return line.action == "delete" and line.key.kind == Kind.APP


def _sent(transfer: Transfer | None) -> str:
    if transfer is None:
        return ""
    from reconciler.api.upload_progress import size_text

    counts = {"added": transfer.added, "changed": transfer.changed, "removed": transfer.removed}
    files = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing new"
    if not transfer.size:
        return f"files: {files}; nothing to upload"
    took = "" if transfer.seconds is None else f", {_seconds(transfer)}"
    return f"files: {files}; {size_text(transfer.size)} to upload{took}"


def _seconds(transfer: Transfer) -> str:
    """How long an upload should take, and how that is known."""
    from reconciler.api.upload_progress import size_text

    known = "as fast as before" if transfer.measured else "assumed"
    return f"about {transfer.seconds} s ({size_text(transfer.rate)}/s, {known})"


def _loaded(replica: ReplicaRow) -> str:
    """What a replica serves, in a line: `web-x has support 1a2b3c4d, sales (Loading)`."""
    parts = [
        f"{each.name} {(each.digest or '')[:8]}".strip()
        + ("" if each.state == "Loaded" else f" ({each.state})")
        for each in replica.adapters
    ]
    return f"{replica.name} has {', '.join(parts) or 'no adapter'}"
