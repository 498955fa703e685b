"""What help says of a command's arguments and options: the same words on a terminal and in
docs/commands.md. `app` gives every command this class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

from reconciler.api.durations import spelt
from reconciler.cli.durations import DURATION


class Command(TyperCommand):
    """A command whose help has a value's name, its meaning, and in words its default, its limits
    and the setting that stands for it.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [each for each in self.params if each.param_type_name == "argument"]
        return [self.options_metavar or "", *map(in_usage, arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            rows = [
                (spelling(each), describe(each))
                for each in self.get_params(ctx)
                if each.param_type_name == kind and not getattr(each, "hidden", False)
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def in_usage(argument: Any) -> str:
    """`NAME`, `[NAME]` where it may be left out, `[NAME...]` where there may be several."""
    name = f"{argument.metavar}..." if argument.nargs == -1 else argument.metavar
    return name if argument.required else f"[{name}]"


def spelling(parameter: Any) -> str:
    """`-f, --file PATH`, or an argument's name."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    value = "" if parameter.is_flag else f" {parameter.metavar}"
    return ", ".join(sorted(parameter.opts, key=len)) + value


def describe(parameter: Any) -> str:
    """The meaning, with what a person needs to know of the value."""
    meaning = str(parameter.help).removesuffix(".")
    notes = "; ".join(_notes(parameter, meaning))
    if not notes:
        return f"{meaning}."
    if re.search(r"\(default[^()]*\)$", meaning):
        return f"{meaning[:-1]}; {notes})."
    return f"{meaning} ({notes})."


def _notes(parameter: Any, meaning: str) -> Iterator[str]:
    default = parameter.default
    if isinstance(default, float) and parameter.metavar == DURATION:
        yield f"default {spelt(default)}"
    elif isinstance(default, int | str) and default not in ("", False) and "default" not in meaning:
        yield f"default {default}"
    if parameter.min is not None and parameter.max is not None:
        yield f"{parameter.min} to {parameter.max}"
    elif parameter.min is not None:
        yield f"at least {parameter.min}"
    if parameter.envvar:
        yield f"setting {parameter.envvar}"
