"""docs/house.svg, out of the code: the rooms of each package and the imports between them. `make
house` draws it.

Rows come from the layer contracts in pyproject.toml, where a package has one; else from the
imports themselves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean

from tests.docs.imports import REPOSITORY, cycles, graph

PAGE = REPOSITORY / "docs" / "house.svg"
TITLES = {
    "reconciler": "reconciler: the daemon",
    "serving": "serving: inside every replica",
    "infra.local_azure": "infra/local_azure: the stand-in for Azure",
}
WIDTH, MARGIN, ROW, BOX, GAP = 1180, 30, 96, 34, 14
LETTER, PADDING = 7.4, 13  # of the font in STYLE, in pixels
STYLE = (
    "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1d2733}"
    ".title{font-size:16px;font-weight:600}.note{font-size:11.5px;fill:#5b6675}"
    ".panel{fill:#f6f8fa;stroke:#d0d7de}.room{fill:#fff;stroke:#3d5a80}"
    ".lends{fill:#fff7e6;stroke:#b7791f}.taker{fill:#b7791f}"
    ".import{fill:none;stroke:#3d5a80;stroke-width:1.3;marker-end:url(#to)}"
    ".implied{fill:none;stroke:#d3dbe6;stroke-width:1}"
)
Edges = Mapping[str, set[str]]


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def drawing() -> str:
    """The whole picture; equal code gives an equal picture."""
    modules, parts, top = graph(), [], 64.0
    for package, title in TITLES.items():
        edges = _rooms(modules, package)
        rows = _ordered(_declared(package, edges) or _levels(edges), edges)
        lent = {
            room: sorted(_lent(modules, f"{package}.{room}", package))
            for row in rows
            for room in row
        }
        part, top = _panel(title, rows, edges, lent, top)
        parts += part
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top:.0f}"'
        f' viewBox="0 0 {WIDTH} {top:.0f}">\n'
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        ' orient="auto"><path d="M0 0L8 4L0 8z" fill="#3d5a80"/></marker></defs>\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text class="title" x="{MARGIN}" y="28">The rooms and the imports between them</text>\n'
        f'<text class="note" x="{MARGIN}" y="48">Blue: imports. Grey: imports that follow from blue'
        " ones. ● takes serving.catalogue or serving.preflight; nothing else crosses from one"
        " frame to another.</text>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _rooms(modules: Edges, package: str) -> dict[str, set[str]]:
    """Room -> the rooms of the same package that it imports; a room is a folder or a file."""
    rooms: dict[str, set[str]] = {}
    for importer, imported in modules.items():
        room = _room(importer, package)
        if room:
            there = rooms.setdefault(room, set())
            there |= {_room(each, package) for each in imported} - {"", room}
    return rooms


def _room(module: str, package: str) -> str:
    return (
        module.removeprefix(package + ".").split(".")[0] if module.startswith(package + ".") else ""
    )


def _lent(modules: Edges, room: str, package: str) -> set[str]:
    """What a room takes from another package."""
    return {
        each
        for importer, imported in modules.items()
        if importer == room or importer.startswith(room + ".")
        for each in imported
        if each.split(".")[0] != package.split(".", maxsplit=1)[0] and "." in each
    }


def _declared(package: str, rooms: Iterable[str]) -> list[list[str]]:
    """The layers that a contract gives `package`; rooms that are only foreseen are left out."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if package in contract.get("containers", ()):
            layers = [layer.replace("|", ":").split(":") for layer in contract["layers"]]
            rows = [[name.strip(" ()") for name in layer] for layer in layers]
            placed = {name for row in rows for name in row}
            rows.append(sorted(set(rooms) - placed))  # the contract will complain of these
            return [there for row in rows if (there := [name for name in row if name in rooms])]
    return []


def _levels(edges: Edges) -> list[list[str]]:
    """Rows by the longest way down; rooms that import each other share one."""
    ring = {room: cycle[0] for cycle in cycles(dict(edges)) for room in cycle}

    def depth(room: str) -> int:
        mates = [each for each in edges if ring.get(each, each) == ring.get(room, room)]
        below = {to for mate in mates for to in edges[mate]} - set(mates)
        return max((1 + depth(each) for each in below), default=0)

    depths = {room: depth(room) for room in sorted(edges)}
    return [
        [room for room in depths if depths[room] == level]
        for level in range(max(depths.values()), -1, -1)
    ]


def _ordered(rows: Sequence[Sequence[str]], edges: Edges) -> list[list[str]]:
    """Each row in the order of what imports it, so that fewer lines cross."""
    place: dict[str, float] = {}
    ordered = []
    for row in rows:
        wish = {
            room: mean([place[above] for above in place if room in edges[above]] or [0.5])
            for room in row
        }
        ordered.append(sorted(row, key=lambda room: (wish[room], room)))
        place |= {room: (n + 0.5) / len(row) for n, room in enumerate(ordered[-1])}
    return ordered


def _wrapped(row: Sequence[str]) -> list[Sequence[str]]:
    """The row, or halves of it where it is wider than the panel."""
    if sum(_width(room) + GAP for room in row) <= WIDTH - 3 * MARGIN or len(row) == 1:
        return [row]
    half = (len(row) + 1) // 2
    return [*_wrapped(row[:half]), *_wrapped(row[half:])]


def _width(room: str) -> float:
    return len(room) * LETTER + 2 * PADDING


def _panel(
    title: str,
    rows: Sequence[Sequence[str]],
    edges: Edges,
    lent: Mapping[str, Sequence[str]],
    top: float,
) -> tuple[list[str], float]:
    """One package's frame and where the next begins."""
    boxes: dict[str, Box] = {}
    rows = [part for row in rows for part in _wrapped(row)]
    for number, row in enumerate(rows):
        widths = [_width(room) for room in row]
        gap = max(GAP, min(70, (WIDTH - 4 * MARGIN - sum(widths)) / (len(row) + 1)))
        x = (WIDTH - sum(widths) - gap * (len(row) - 1)) / 2
        for room, width in zip(row, widths, strict=True):
            boxes[room] = Box(x, top + 44 + number * ROW, width)
            x += width + gap
    bottom = top + 44 + len(rows) * ROW - ROW + BOX + 24
    panel = [
        f'<rect class="panel" x="{MARGIN / 2}" y="{top:.0f}" width="{WIDTH - MARGIN}"'
        f' height="{bottom - top:.0f}" rx="8"/>',
        f'<text class="title" x="{MARGIN}" y="{top + 26:.0f}">{escape(title)}</text>',
    ]
    pairs = [(one, other) for one in sorted(edges) for other in sorted(edges[one])]
    implied = {pair for pair in pairs if _leads(edges, *pair)}
    panel += [_line(boxes[a], boxes[b], "implied") for a, b in pairs if (a, b) in implied]
    panel += [_line(boxes[a], boxes[b], "import") for a, b in pairs if (a, b) not in implied]
    for room, box in boxes.items():
        kind = "room lends" if title.startswith("serving") and room in LENDS else "room"
        panel.append(
            f'<rect class="{kind}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}"'
            f' height="{BOX}" rx="5"/>'
            f'<text x="{box.middle:.1f}" y="{box.y + 22:.1f}" text-anchor="middle">{escape(room)}'
            "</text>"
        )
        if lent[room]:
            panel.append(
                f'<circle class="taker" cx="{box.x + box.width - 7:.1f}" cy="{box.y + 8:.1f}"'
                f' r="3.5"><title>{escape(", ".join(lent[room]))}</title></circle>'
            )
    return panel, bottom + 22


LENDS = ("catalogue", "preflight")


def _leads(edges: Edges, start: str, end: str) -> bool:
    """Whether `end` is reached from `start` by way of another room that does not lead back."""
    seen: set[str] = set()
    ahead = [each for each in edges[start] if each != end and start not in edges.get(each, ())]
    while ahead:
        room = ahead.pop()
        if room == end:
            return True
        if room not in seen and room != start:
            seen.add(room)
            ahead += edges[room]
    return False


def _line(one: Box, other: Box, kind: str) -> str:
    if one.y < other.y:
        start, end, bend = one.y + BOX, other.y - 1, 30.0
        ends = (start + bend, end - bend)
    elif one.y > other.y:
        start, end = one.y, other.y + BOX + 1
        ends = (start - 30, end + 30)
    else:
        start, end = one.y + BOX, other.y + BOX + 1
        ends = (start + 34, end + 34)
    return (
        f'<path class="{kind}" d="M{one.middle:.1f} {start:.1f}C{one.middle:.1f} {ends[0]:.1f}'
        f' {other.middle:.1f} {ends[1]:.1f} {other.middle:.1f} {end:.1f}"/>'
    )


if __name__ == "__main__":
    PAGE.write_text(drawing())
