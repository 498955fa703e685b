"""Does an adapter change anything? Compares log-probabilities after one fixed prompt with and without it.

An adapter whose weights do nothing loads, answers and looks healthy; only this shows it. engine.py runs the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROMPT = "The harbour is quiet in the morning. A boat is tied up at the moorage, and somebody asks: what do you say?"
TOKENS, LIKELIEST = 8, 5  # so many greedy tokens, each with its likeliest alternatives
TOLERANCE = 1e-3  # far above rounding between two runs of one model, far below what any trained adapter does

Run = Sequence[Mapping[int, float]]  # per generated token: log-probability (natural) by token id


@dataclass(frozen=True)
class Proof:
    """`reason` is Proven, SameAsBase, Unproven (could not be measured) or empty (not tried)."""

    reason: str
    message: str


NOT_TRIED = Proof("", "")


def compare(base: Run, adapted: Run) -> Proof:
    """Two greedy runs of one prompt, position by position until their answers part."""
    if not base or not adapted:
        return Proof("Unproven", "vLLM gave no log-probabilities")
    largest = 0.0
    for one, other in zip(base, adapted, strict=False):
        if set(one) != set(other):
            return Proof("Proven", "the likeliest answers differ from the base model's")
        largest = max(largest, *(abs(one[token] - other[token]) for token in one))
    if largest > TOLERANCE or len(base) != len(adapted):
        return Proof("Proven", f"log-probabilities differ from the base model's by up to {largest:.3g}")
    return Proof("SameAsBase", f"no log-probability differs from the base model's by more than {largest:.2g}")
