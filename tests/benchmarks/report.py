"""What a benchmark hands back, and the report made of it: Markdown for people, JSON for comparing
two runs.
"""

from __future__ import annotations

import json
import math
import os
import platform
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """A measured value that has a target. `bound` says on which side of the target it should be."""

    name: str
    measured: float
    unit: str
    target: float
    bound: Literal["at most", "at least"]

    @property
    def met(self) -> bool:
        return (
            self.measured <= self.target
            if self.bound == "at most"
            else self.measured >= self.target
        )


@dataclass(frozen=True)
class Section:
    """One benchmark's outcome: figures with targets, a table of everything measured, and how to
    read it.
    """

    title: str
    figures: Sequence[Figure] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | float | int]] = ()
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True)
class Ratio:
    """How often one contains the other, measured in pairs; `low` and `high` are the ends of its 95
    % interval.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_text(self.mean)} ({_text(self.low)} to {_text(self.high)})"

    def cells(self) -> tuple[str, str, str]:
        return f"{self.mean:.3f}", f"{self.low:.3f}", f"{self.high:.3f}"


def ratio(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Geometric mean of first/second, and its interval by resampling the pairs: with few of them,
    the range they span.
    """
    logs = [math.log(one / other) for one, other in pairs]
    draw = random.Random(1)
    means = sorted(statistics.fmean(draw.choices(logs, k=len(logs))) for _ in range(4000))
    return Ratio(math.exp(statistics.fmean(logs)), math.exp(means[100]), math.exp(means[3899]))


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The smallest value that 95 % do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.95) - 1]


def p99(values: Sequence[float]) -> float:
    """The smallest value that 99 % do not exceed."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


def write(
    folder: Path, now: datetime, sections: Sequence[Section], failed: Mapping[str, str]
) -> Path:
    """Write `<now>.md` and `<now>.json` below `folder`; the Markdown file's path. `failed` names
    what gave no result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.md"
    path.write_text(markdown(now, sections, failed))
    value = {
        "time": now.isoformat(),
        "machine": machine(),
        "failed": failed,
        "sections": [_as_value(each) for each in sections],
    }
    path.with_suffix(".json").write_text(json.dumps(value, indent=1) + "\n")
    return path


def markdown(now: datetime, sections: Sequence[Section], failed: Mapping[str, str]) -> str:
    """The report as a person reads it: targets first, then one table each."""
    lines = [f"# Benchmarks, {now:%Y-%m-%d %H:%M} UTC", "", f"On {machine()}.", ""]
    figures = [figure for section in sections for figure in section.figures]
    if figures:
        lines += _table(
            ("figure", "target", "measured", ""), [_figure(figure) for figure in figures]
        )
    for name, reason in failed.items():
        lines += [f"**{name} gave no result**: {reason}", ""]
    for section in sections:
        lines += [f"## {section.title}", "", *_table(section.columns, section.rows)]
        lines += [f"- {note}" for note in section.notes] + ([""] if section.notes else [])
    return "\n".join(lines)


def machine() -> str:
    """The processor count, the memory and the load that the figures were taken under."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, {gibibytes:.0f} GiB, {platform.system()} {platform.release()},"
        f" load {load:.1f} at the end"
    )


def _as_value(section: Section) -> dict[str, Any]:
    value = asdict(section)
    value["figures"] = [{**asdict(figure), "met": figure.met} for figure in section.figures]
    return value


def _figure(figure: Figure) -> tuple[str, str, str, str]:
    target = f"{figure.bound} {_text(figure.target)} {figure.unit}".rstrip()
    return (
        figure.name,
        target,
        f"{_text(figure.measured)} {figure.unit}".rstrip(),
        "met" if figure.met else "**missed**",
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str | float | int]]) -> list[str]:
    if not columns:
        return []
    head = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return [*head, *("| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows), ""]


def _text(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, float) and math.isinf(cell):
        return "none"
    if isinstance(cell, int) or cell == int(cell):
        return f"{int(cell):,}"
    return f"{cell:.{3 if abs(cell) < 1 else 2 if abs(cell) < 10 else 1}f}"
