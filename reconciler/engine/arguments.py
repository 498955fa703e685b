"""Command lines compared word by word and flag by flag, because two long lists tell a person
nothing. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from reconciler.engine.external import Change

LISTS = (".args", ".command")
Value = str | bool | None


def by_flag(change: Change) -> tuple[Change, ...]:
    """A change of a command line, split into one change for each flag that differs, `args[--port]`,
    and for each word before the flags, `command[2]`. Where another number of words stands there,
    one change has all of them from the first that differs, `command[2:]`. Any other change, and
    one of the order alone, stays whole.
    """
    sides = change.before, change.after
    if not change.path.endswith(LISTS) or not all(_is_texts(side) for side in sides):
        return (change,)
    (first, old), (second, new) = (_parsed(side) for side in sides)
    flags = [
        (name, old.get(name), new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    return tuple(
        replace(change, path=f"{change.path}[{name}]", before=before, after=after)
        for name, before, after in (*_words(first, second), *flags)
    ) or (change,)


def _words(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, Value, Value]]:
    """The words that differ, by their place from 0."""
    if len(old) == len(new):
        for place, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                yield str(place), before, after
        return
    pairs = zip(old, new, strict=False)
    start = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    start = min(len(old), len(new)) if start is None else start
    yield f"{start}:", shlex.join(old[start:]) or None, shlex.join(new[start:]) or None


def _is_texts(side: Any) -> bool:
    return isinstance(side, list | tuple) and all(isinstance(word, str) for word in side)


def _parsed(words: Sequence[str]) -> tuple[list[str], dict[str, Value]]:
    """The words before the first flag; and each flag with its value, True for a flag without one.
    The values of a flag that is given twice are joined in one text.
    """
    lead: list[str] = []
    flags: dict[str, Value] = {}
    name = ""
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, has_value, value = word.partition("=")
            given = flags.get(name)
            if not has_value:
                flags.setdefault(name, True)
            else:
                flags[name] = f"{given} {value}" if isinstance(given, str) else value
        elif not name:
            lead.append(word)
        else:
            # argparse takes several words after one flag, as in `--lora-modules a=x b=y`.
            given = flags[name]
            flags[name] = f"{given} {word}" if isinstance(given, str) else word
    return lead, flags
