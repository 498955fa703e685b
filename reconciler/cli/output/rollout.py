"""Rollouts under way, as a terminal shows them: stage by stage, with seconds, prediction and a bar.
`status` and `up` show them; the page's own stages are what they show.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.api.upload_progress import uploaded_share
from reconciler.cli.output.layout import hang
from reconciler.cli.output.verdict import FEW

if TYPE_CHECKING:
    from reconciler.engine.record import ObjectRecord
    from reconciler.engine.store import Store
    from reconciler.web.stages import RolloutStage

Rollouts = Mapping[str, Sequence["RolloutStage"]]
SIGNS = {"done": "✓", "now": "▸", "failed": "✗", "waits for you": "?", "to come": "·"}
NAME = 24  # columns of a stage's name with its sign
BAR = 20
ROOMY = 80  # columns from which there is room for a bar


def rollouts_of(
    store: Store, target: str, records: Iterable[ObjectRecord] | None = None
) -> Rollouts:
    """What is happening now, by service; nothing of a service that is at rest."""
    from reconciler.engine.clock import SystemClock
    from reconciler.web.view import PageFacts, moving_view, stages

    clock = SystemClock()
    facts = PageFacts(target, leading=True, boot=clock.boot, elapsed=clock.elapsed())
    view = moving_view(store, facts, datetime.fromtimestamp(clock.now(), UTC), records)
    found = {each.name: stages(store, view, each) for each in view.services}
    return {name: steps for name, steps in found.items() if steps}


def rollout_lines(rollouts: Rollouts, width: int, height: int | None = None) -> list[str]:
    """Lines of at most `width` columns. Where there are many services, or no room for all stages in
    `height` lines, each service has its present stage alone.
    """
    lines: list[str] = []
    for name, steps in rollouts.items():
        lines.append(name)
        for step in steps:
            lines += _step(step, width)
    if len(rollouts) > FEW or (height is not None and len(lines) > height and len(rollouts) > 1):
        return [line for each in rollouts.items() for line in _present(*each, width)]
    return lines


def arrivals(before: Rollouts, now: Rollouts) -> Iterator[tuple[str, str]]:
    """Service and sentence of each stage that took as long as it was predicted to, or not, and has
    ended since `before`: for a pipe, where no bar moves.
    """
    for name, steps in now.items():
        ended = {step.name for step in before.get(name, ()) if step.state == "done"}
        for step in steps:
            if step.state == "done" and step.predicted and step.name not in ended:
                yield name, f"{step.name.lower()} is done {_time(step)}"


def _present(name: str, steps: Sequence[RolloutStage], width: int) -> Iterator[str]:
    step = next((each for each in steps if each.state not in ("done", "to come")), steps[-1])
    text = f"{step.name.lower()} {_progress(step, width)}"
    yield from hang(f"{SIGNS[step.state]} {name:<{NAME - 4}}  ", text, width)


def _progress(step: RolloutStage, width: int) -> str:
    """How it stands, the time, and a bar where there is room."""
    facts = [step.state if step.state != "now" else "", _time(step)]
    text = " ".join(each for each in facts if each)
    bar = _bar(step) if width >= ROOMY else ""
    return "  ".join(each for each in (bar, text) if each)


def _step(step: RolloutStage, width: int) -> Iterator[str]:
    yield from hang(f"  {SIGNS[step.state]} {step.name:<{NAME - 4}}", _progress(step, width), width)
    if step.state in ("now", "failed", "waits for you") and step.message:
        room = width - NAME
        message = textwrap.shorten(step.message.partition("\n")[0], 2 * room, placeholder=" …")
        yield from hang(" " * NAME, message, width)


def _time(step: RolloutStage) -> str:
    parts = []
    if step.seconds is not None:
        parts.append(f"{'in' if step.state == 'done' else 'for'} {step.seconds:.0f} s")
    if step.predicted and step.state != "to come":
        parts.append(f"({step.predicted} s predicted)")
    elif step.predicted:
        parts.append(f"{step.predicted} s predicted")
    return " ".join(parts)


def _bar(step: RolloutStage) -> str:
    """What is uploaded of all bytes, or the seconds against the prediction."""
    if step.state != "now":
        return ""
    share = uploaded_share(step.message)
    if share is None and step.predicted and step.seconds is not None:
        share = min(1.0, step.seconds / step.predicted)
    return "" if share is None else bar(share)


def bar(share: float) -> str:
    full = int(BAR * share)
    return "━" * full + "─" * (BAR - full)
