"""docs/commands.md, out of the commands themselves: `python -m tests.docs.commands` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from reconciler.cli.app import app
from reconciler.cli.command_help import describe, in_usage, spelling

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
HEAD = """\
# Commands

Written from the commands' own help by `python -m tests.docs.commands`. `-h` and `--help` work everywhere. [Exit
codes](status.md#exit-codes) are the same for all commands, and most print [JSON](status.md) with `-o json`.

## Completion

Commands, options and names of services complete at the Tab key:

| shell | |
|---|---|
| bash | put `source <(moorage completion bash)` into `~/.bashrc` |
| zsh | save the output of `moorage completion zsh` as `_moorage` in a folder of `fpath` |
| fish | save the output of `moorage completion fish` as `~/.config/fish/completions/moorage.fish` |
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name after `moorage`, in the order of the help."""
    yield from _below(typer.main.get_command(app), "")


def _below(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_section(name, command) for name, command in commands())


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["moorage", name, *map(in_usage, arguments)])
    rows = [
        f"| {_code(p)} | {describe(p)} |"
        for p in (*arguments, *(p for p in command.params if p not in arguments))
        if p.name != "help"
    ]
    table = "\n".join(["", "| | |", "|---|---|", *rows, ""]) if rows else ""
    return f"\n## `{usage}`\n\n{_paragraphs(command.help)}\n{table}"


def _paragraphs(text: str) -> str:
    """Each paragraph in one line, however the source wraps it."""
    return "\n\n".join(" ".join(each.split()) for each in text.split("\n\n"))


def _code(parameter: Any) -> str:
    """Each spelling as code."""
    value = parameter.metavar
    if parameter.param_type_name == "option" and not parameter.is_flag:
        each = [f"`{flag} {value}`" for flag in sorted(parameter.opts, key=len)]
        return ", ".join(each)
    return ", ".join(f"`{each}`" for each in spelling(parameter).split(", "))


if __name__ == "__main__":
    PAGE.write_text(page())
