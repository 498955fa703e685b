"""Command lines compared word by word and flag by flag, because two long lists tell a person
nothing. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

from reconciler.engine.external import Change

LISTS = (".args", ".command")
Value = str | bool | None


def by_flag(change: Change) -> tuple[Change, ...]:
    """A change of a command line, split into one change for each flag that differs, `args[--port]`,
    for each flag that stands elsewhere, `args[--port].place`, and for each word before the flags,
    `command[2]`. Where another number of words stands there, one change has all of them from the
    first that differs, `command[2:]`. Any other change stays whole.
    """
    sides = change.before, change.after
    if not change.path.endswith(LISTS) or not all(_is_texts(side) for side in sides):
        return (change,)
    old, new = (_parsed(side or ()) for side in sides)
    found = (*_words(old.lead, new.lead), *_flags(old, new), *_places(old.order, new.order))
    return tuple(
        replace(change, path=f"{change.path}[{at}", before=before, after=after)
        for at, before, after in found
    ) or (change,)


def in_parts(change: Change) -> Iterator[Change]:
    """The change as a person reads it, with nothing hidden behind the end of a line: a command line
    as `by_flag` splits it, and an entry that comes or goes field by field; of a container, also its
    command line and its variables.
    """
    there = change.before if change.after is None else change.after
    if None not in (change.before, change.after) or not isinstance(there, Mapping) or not there:
        yield from by_flag(change)
        return
    for name, value in there.items():
        if change.path.endswith(f"[{value}]") or value in (None, "", [], {}):
            continue  # the name of the entry, which the path has already; and what says nothing
        member = _alone(change, f"{change.path}.{name}", value)
        if name != "env":
            yield from by_flag(member)
            continue
        for entry in value:
            yield from in_parts(_alone(change, f"{member.path}[{entry.get('name')}]", entry))


def _alone(change: Change, path: str, value: Any) -> Change:
    """The part of an entry that comes or goes with it."""
    comes = change.after is not None
    before, after = (None, value) if comes else (value, None)
    return replace(change, path=path, before=before, after=after)


@dataclass
class _Line:
    """A command line: the words before the first flag, each flag with its words, itself included,
    and the flags in their order, each with the number of times that it was given before.
    """

    lead: list[str] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    order: list[tuple[str, int]] = field(default_factory=list)


Found = Iterator[tuple[str, Value, Value]]  # the end of the path, and the two values


def _words(old: Sequence[str], new: Sequence[str]) -> Found:
    """The words that differ, by their place from 0."""
    if len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield f"{place}]", before, after
        return
    pairs = zip(old, new, strict=False)
    start = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    start = min(len(old), len(new)) if start is None else start
    yield f"{start}:]", shlex.join(old[start:]) or None, shlex.join(new[start:]) or None


def _flags(old: _Line, new: _Line) -> Found:
    for name in dict.fromkeys((*old.flags, *new.flags)):
        before, after = old.flags.get(name), new.flags.get(name)
        if before == after:
            continue
        values = _value(name, before), _value(name, after)
        if values[0] == values[1]:  # `--a=1` for `--a 1`, or two words for one with a space
            values = shlex.join(before or ()), shlex.join(after or ())
        yield f"{name}]", *values


def _value(name: str, words: Sequence[str] | None) -> Value:
    """The value of a flag, True where it has none; several values are joined in one text."""
    if words is None:
        return None
    values = [word.removeprefix(f"{name}=") for word in words if word != name]
    return " ".join(values) if values else True


def _places(old: Sequence[tuple[str, int]], new: Sequence[tuple[str, int]]) -> Found:
    """The flags of both that stand elsewhere, as few as explain the order: programs may read it."""
    common = {*old} & {*new}
    one, other = ([flag for flag in side if flag in common] for side in (old, new))
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    stayed = {flag for at, _, size in blocks for flag in one[at : at + size]}
    for flag in one:
        if flag not in stayed:
            yield f"{flag[0]}].place", _place(old, flag), _place(new, flag)


def _place(order: Sequence[tuple[str, int]], flag: tuple[str, int]) -> str:
    at = order.index(flag)
    if not at:
        return "first"
    name, number = order[at - 1]
    return f"after {name}" + (f" ({number + 1})" if number else "")


def _is_texts(side: Any) -> bool:
    return side is None or (
        isinstance(side, list | tuple) and all(isinstance(word, str) for word in side)
    )


def _parsed(words: Sequence[str]) -> _Line:
    line, name = _Line(), ""
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name = word.partition("=")[0]
            number = sum(1 for each, _ in line.order if each == name)
            line.order.append((name, number))
            line.flags.setdefault(name, []).append(word)
        elif not name:
            line.lead.append(word)
        else:
            # argparse takes several words after one flag, as in `--lora-modules a=x b=y`.
            line.flags[name].append(word)
    return line
