"""Command lines compared flag by flag, because two long lists tell a person nothing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reconciler.engine.external import Change

LISTS = (".args", ".command")
Value = str | bool | None


def by_flag(change: Change) -> tuple[Change, ...]:
    """A change of a command line, split into one change for each flag that differs: `args[--port]`.
    Any other change, or one where something besides flags differs, stays whole.
    """
    sides = change.before, change.after
    if not change.path.endswith(LISTS) or not all(_is_texts(side) for side in sides):
        return (change,)
    (first, old), (second, new) = (_parsed(side) for side in sides)
    differing = [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]
    if first != second or not differing:
        return (change,)
    return tuple(
        replace(change, path=f"{change.path}[{name}]", before=old.get(name), after=new.get(name))
        for name in differing
    )


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
