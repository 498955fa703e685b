"""The training report: report.json, and loss.svg as a picture of the loss. Kept beside the adapter,
never served.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.training.fingerprint import TRAINING_PACKAGES, FileFact, code_version, relative
from serving.training.fit import Fit, LoadedBase
from serving.training.recipe import AdapterRecipe

WIDTH, HEIGHT, MARGIN = 640, 320, 44


def write_report(
    folder: Path,
    recipe: AdapterRecipe,
    base: LoadedBase,
    fit: Fit,
    inputs: str,
    outputs: dict[str, FileFact],
) -> None:
    """Write report.json and loss.svg into `folder`. Losses are nats per answer token."""
    import torch

    report: dict[str, Any] = {
        "adapter": recipe.name,
        "base": base.name,
        "finishedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": inputs,
        "recipe": recipe.model_dump(mode="json", by_alias=True, exclude={"dataset", "output"}),
        "dataset": relative(recipe.dataset),
        "trainableParameters": fit.parameters,
        "steps": len(fit.losses),
        "resumedAtStep": fit.resumed_at,
        "seconds": round(fit.seconds, 1),
        "device": str(base.device),
        "threads": torch.get_num_threads(),
        "evaluation": {
            "chats": fit.evaluation_chats,
            "lossBefore": fit.loss_before,
            "lossAfter": fit.loss_after,
        },
        "losses": fit.losses,
        "samples": fit.samples,
        "files": {
            name: {"size": fact.size, "sha256": fact.sha256} for name, fact in outputs.items()
        },
        "versions": {"python": platform.python_version(), **code_version((), TRAINING_PACKAGES)},
    }
    (folder / "report.json").write_text(
        json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "loss.svg").write_text(
        loss_picture(fit.losses, fit.loss_before, fit.loss_after, recipe.name), encoding="utf-8"
    )


def loss_picture(
    losses: Sequence[float], before: float | None, after: float | None, title: str
) -> str:
    """An SVG of the loss by step, with the held-out loss as two points when there is one."""
    shown = [*losses, *(value for value in (before, after) if value is not None)]
    top = max(shown) * 1.05 or 1.0
    left, bottom = MARGIN, HEIGHT - MARGIN

    def x(step: float) -> float:
        return left + (WIDTH - 2 * MARGIN) * step / max(len(losses), 1)

    def y(loss: float) -> float:
        return bottom - (HEIGHT - 2 * MARGIN) * loss / top

    line = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in enumerate(losses, 1))
    points = "".join(
        f'<circle cx="{x(step):.1f}" cy="{y(loss):.1f}" r="5" fill="#d1495b"><title>held out:'
        f" {loss:.3f}</title></circle>"
        for step, loss in ((0, before), (len(losses), after))
        if loss is not None
    )
    ticks = "".join(
        f'<text x="{left - 6}" y="{y(top * part):.1f}" text-anchor="end"'
        f' dominant-baseline="middle">{top * part:.1f}</text><line x1="{left}"'
        f' x2="{WIDTH - MARGIN}" y1="{y(top * part):.1f}" y2="{y(top * part):.1f}" stroke="#ddd"/>'
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' font-family="sans-serif" font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}"'
        f' fill="#fff"/>\n<text x="{left}" y="24" font-size="14">{title}: loss by step (line) and'
        f' on held-out chats (points)</text>\n{ticks}\n<polyline points="{line}" fill="none"'
        f' stroke="#30638e" stroke-width="2"/>\n{points}\n<text x="{WIDTH - MARGIN}"'
        f' y="{HEIGHT - 14}" text-anchor="end">step {len(losses)}</text>\n</svg>\n'
    )
