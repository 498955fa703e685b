"""Which target a command line that failed speaks of: a program reads it in the error as well.
`app` asks after the command has ended, also one that was never understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.cli.output.subject import Subject


def subject_of_line(root: Any, words: Sequence[str]) -> Subject | None:
    """The target and the set of documents; None for a command that speaks of none, and where the
    settings name no target.
    """
    from reconciler.cli.output.subject import subject_near
    from reconciler.cli.place import state_of

    command, local = _command(root, words)
    if command is None or not any(each.name == "state_dir" for each in command.params):
        return None
    folder = _value("--state-dir", words)
    files = [Path(file) for file in (_value("--file", words), _value("-f", words)) if file]
    with suppress(Exception):  # it is no second error that the first cannot name its target
        target = "local" if local else _value("--target", words)
        return subject_near(target, state_of(Path(folder) if folder else None, files))
    return None


def _command(root: Any, words: Sequence[str]) -> tuple[Any, bool]:
    """The command that the words name, and whether it is one of the local Azure."""
    command, local = root, False
    for word in words:
        commands = getattr(command, "commands", None)
        if commands is None:
            break
        if word in commands:
            command, local = commands[word], local or word == "local-azure"
    return (None if hasattr(command, "commands") else command), local


def _value(option: str, words: Sequence[str]) -> str | None:
    """The value of an option as a person writes it; None where it is left out."""
    for at, word in enumerate(words):
        if word == option and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
