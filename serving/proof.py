"""Does an adapter change anything, and does it answer as it should? Pure; engine.py runs the
prompts.

An adapter whose weights do nothing loads, answers and looks healthy; only log-probabilities with
and without it show that. An evaluation is the user's own: prompts and what their answers must
contain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.catalogue import Expectation

# Three registers, because an adapter may have learnt only one of them.
PROMPTS = (
    (
        "The harbour is quiet in the morning. A boat is tied up at the moorage, and somebody asks:"
        " what do you say?"
    ),
    "Question: Which number comes after forty-one?\nAnswer:",
    "def greet(name):\n",
)
TOKENS, LIKELIEST = 8, 5  # so many greedy tokens, each with its likeliest alternatives
# far above rounding between two runs of one model, far below what any trained adapter does
TOLERANCE = 1e-3

Run = Sequence[Mapping[int, float]]  # per generated token: log-probability (natural) by token id


@dataclass(frozen=True)
class Proof:
    """`reason` is Proven, SameAsBase, NotFinite (answers that are no numbers), Unproven (could not
    be measured) or empty (not tried).
    """

    reason: str
    message: str


NOT_TRIED = Proof("", "")
NOT_FINITE = "NotFinite"


def judge(base: Sequence[Run], adapted: Sequence[Run]) -> Proof:
    """Greedy runs of all prompts with and without the adapter: one that differs is enough, and one
    of NaN is too much.
    """
    if not any(map(_spoilt, base)) and (spoilt := sum(map(_spoilt, adapted))):
        return Proof(
            NOT_FINITE,
            f"its weights overflow: {spoilt} of {len(adapted)} prompts are answered with NaN",
        )
    proofs = [compare(one, other) for one, other in zip(base, adapted, strict=True)]
    order = ("Proven", "Unproven", "SameAsBase")
    return min(proofs, key=lambda proof: order.index(proof.reason))


def unmet(evaluation: Sequence[Expectation], answers: Sequence[str]) -> str:
    """What an evaluation found wrong, in one sentence; empty when every answer holds what was
    expected.
    """
    wrong = [
        (case, answer)
        for case, answer in zip(evaluation, answers, strict=True)
        if not _holds(case, answer)
    ]
    if not wrong:
        return ""
    case, answer = wrong[0]
    return (
        f"{len(wrong)} of {len(evaluation)} prompts of the evaluation are not answered as expected;"
        f" the first, {_short(case.prompt)}, with {_short(answer)} instead of {_short(case.expect)}"
    )


def _spoilt(run: Run) -> bool:
    return any(math.isnan(value) for row in run for value in row.values())


def _holds(case: Expectation, answer: str) -> bool:
    return " ".join(case.expect.split()).casefold() in " ".join(answer.split()).casefold()


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")


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
        return Proof(
            "Proven", f"log-probabilities differ from the base model's by up to {largest:.3g}"
        )
    return Proof(
        "SameAsBase", f"no log-probability differs from the base model's by more than {largest:.2g}"
    )
