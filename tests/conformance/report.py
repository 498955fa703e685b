"""The table by resource type and operation, the totals, and every difference with its recording."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from .replay import Replayed, Score


@dataclass
class Line:
    """Sums of one line of the table: right ones of all."""

    status: Counter[bool] = field(default_factory=Counter)
    headers: Counter[bool] = field(default_factory=Counter)
    fields: Counter[bool] = field(default_factory=Counter)
    apart: int = 0

    def add(self, score: Score) -> None:
        if score.apart:
            self.apart += 1
            return
        self.status[score.right_status] += 1
        self.headers[not score.wrong_headers] += 1
        self.fields.update(not entry.wrong for entry in score.fields)

    def __iadd__(self, other: Self) -> Self:
        self.status.update(other.status)
        self.headers.update(other.headers)
        self.fields.update(other.fields)
        self.apart += other.apart
        return self


def share(counts: Counter[bool]) -> float:
    """Per cent that is right; all of nothing is right."""
    return 100.0 * counts[True] / counts.total() if counts.total() else 100.0


def lines(replayed: Iterable[Replayed], *, scored: bool) -> dict[tuple[str, str], Line]:
    table: dict[tuple[str, str], Line] = defaultdict(Line)
    for one in replayed:
        for score in one.scores:
            if score.subject.scored == scored:
                table[score.subject.kind, score.subject.operation].add(score)
    return dict(sorted(table.items()))


def total(replayed: Iterable[Replayed]) -> Line:
    whole = Line()
    for line in lines(replayed, scored=True).values():
        whole += line
    return whole


def table(replayed: list[Replayed]) -> Iterator[str]:
    yield (
        f"{'resource type':34} {'operation':22} {'exchanges':>9} {'status':>8} {'headers':>8}"
        f" {'fields':>15} {'':>7}"
    )
    kinds: dict[str, Line] = defaultdict(Line)
    for (kind, operation), line in lines(replayed, scored=True).items():
        kinds[kind] += line
        yield _row(kind, operation, line)
    yield ""
    for kind, line in kinds.items():
        yield _row(kind, "all", line)
    yield ""
    yield _row("all that is scored", "", total(replayed))
    early = Counter(
        score.apart
        for one in replayed
        for score in one.scores
        if score.subject.scored and score.apart
    )
    yield from (f"  not scored: {count} ({reason})" for reason, count in early.items())
    yield (
        f"  put there before the recording began, by {sum(len(one.seeded) for one in replayed)}"
        " requests of the runner's own"
    )
    yield ""
    yield "apart, not scored (exchanges, answered here with the recorded status):"
    for (kind, operation), line in lines(replayed, scored=False).items():
        yield (
            f"  {kind:70} {operation:8} {line.status.total() + line.apart:5} {line.status[True]:5}"
        )


def differences(replayed: Iterable[Replayed]) -> Iterator[str]:
    for one in replayed:
        for seed in one.seeded:
            yield f"{one.recording}: seeded {seed}"
        for score in one.scores:
            if not score.subject.scored or score.apart:
                continue
            path = score.exchange.path.split("/providers/")[-1]
            head = f"{one.recording} #{score.exchange.index} {score.exchange.method} {path}"
            if not score.right_status:
                yield f"{head}: status {score.status}, was {score.exchange.status} {score.refusal}"
            if score.wrong_headers:
                yield f"{head}: {score.wrong_headers}"
            wrong = [entry for entry in score.fields if entry.wrong]
            if not score.right_status and wrong:
                yield f"{head}: and {len(wrong)} fields"
            else:
                yield from (f"{head}: {entry.path} {entry.wrong}" for entry in wrong)


def _row(kind: str, operation: str, line: Line) -> str:
    counts = f"{line.fields[True]}/{line.fields.total()}"
    return (
        f"{kind:34} {operation:22} {line.status.total():9} {share(line.status):7.1f}%"
        f" {share(line.headers):7.1f}% {counts:>15} {share(line.fields):6.1f}%"
    )
