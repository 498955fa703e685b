"""How text fits the place it is printed to. A terminal has a width: tables lose their least
important columns, and lines break between words. A pipe has none: whatever reads it gets whole
values. Every command that prints tables or long lines uses this.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.text import Text

    from reconciler.cli.output.console import Console

GAP = 2
_UNIT = re.compile(r"(?<=\d) (?=%|(?:s|B|[KMG]iB)\b)")  # a number and its unit stay together
ROOM = 36  # columns that a text needs beside its head; with fewer it begins below


@dataclass(frozen=True)
class Column:
    """`rank` says how important a column is: that with the highest number goes first. Rank 0 never
    goes.
    """

    title: str
    rank: int = 0


def width_of(console: Console) -> int | None:
    """The columns of the terminal; None for a pipe or a file."""
    return console.width if console.is_terminal else None


def terminal_width(stream: TextIO | None = None) -> int | None:
    """The same of a stream; standard output without one."""
    return shutil.get_terminal_size().columns if (stream or sys.stdout).isatty() else None


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, indent: int = 2
) -> list[str]:
    """Lines of a table with a heading. Cells stay whole: columns are left out until the rest fits,
    and the last column that is left breaks between words.
    """
    kept = _kept(columns, rows, width, indent)
    cells = [[columns[at].title for at in kept], *([row[at] for at in kept] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(kept))]
    lines: list[str] = []
    for row in cells:
        head = " " * indent + "".join(
            f"{cell:<{wide + GAP}}" for cell, wide in zip(row[:-1], widths, strict=False)
        )
        lines += hang(head, row[-1], width)
    return lines


def _kept(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, indent: int
) -> list[int]:
    kept = [
        at for at, column in enumerate(columns) if column.rank == 0 or any(row[at] for row in rows)
    ]
    wide = [max(len(columns[at].title), *(len(row[at]) for row in rows), 0) for at in kept]
    sizes = dict(zip(kept, wide, strict=True))
    while width is not None:
        total = indent + sum(sizes[at] for at in kept) + GAP * (len(kept) - 1)
        least = max(kept, key=lambda at: columns[at].rank)
        if total <= width or columns[least].rank == 0:
            break
        kept.remove(least)
    return kept


def hang(head: str, text: str, width: int | None) -> list[str]:
    """`text` after `head`, with its further lines below its beginning. Words stay whole, also one
    that is longer than the line.
    """
    if width is None or ("\n" not in text and len(head) + len(text) <= width):
        return [(head + text).rstrip()]
    indent = head if len(head) + ROOM <= width else " " * min(4, len(head))
    room = max(width - len(indent), 20)
    lines: list[str] = []
    for paragraph in _UNIT.sub("\N{NO-BREAK SPACE}", text).split("\n"):
        lines += textwrap.wrap(paragraph, room, break_long_words=False, break_on_hyphens=False) or [
            ""
        ]
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
    if indent is not head:
        return [head.rstrip(), *(indent + line for line in lines)]
    first, *others = lines
    return [(head + first).rstrip(), *(" " * len(head) + line for line in others)]


def heading(text: str, width: int | None) -> list[str]:
    """A line of parts with three blanks between them; where they do not fit, a line for each."""
    if width is None or len(text) <= width:
        return [text]
    return [line for part in text.split("   ") for line in hang("", part, width)]


def say(text: str, *, aside: bool = False) -> None:
    """Print sentences for a person, also several lines of them: on a terminal they break between
    words, with further lines below the first word. Values, snippets and files are printed as they
    are. `aside` is standard error.
    """
    stream = sys.stderr if aside else sys.stdout
    width = terminal_width(stream)
    for line in text.split("\n"):
        body = line.lstrip()
        head = line[: len(line) - len(body)]
        print("\n".join(hang(head, body, width)), file=stream, flush=True)


def fit(lines: Sequence[Text], height: int | None) -> list[Text]:
    """The first `lines`, and a last one that says how many more there are, on a screen that is not
    high enough for all.
    """
    from rich.text import Text

    if height is None or len(lines) <= height:
        return list(lines)
    more = len(lines) - height + 1
    return [*lines[: height - 1], Text(f"… {more} more lines; `moorage status` prints them all")]
