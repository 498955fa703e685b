"""Decides whether an adapter changes anything, and whether it answers as expected. Pure; engine.py
runs the prompts.

An adapter whose weights do nothing loads, answers and looks healthy; only log-probabilities with
and without it show that. Two runs of one model differ too, most of all in bfloat16, so the base is
measured against itself. An evaluation is the user's own: prompts and what their answers must
contain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from serving.catalogue import AdapterReason, Expectation

# Three registers, because an adapter may have learnt only one of them.
PROMPTS = (
    (
        "The harbour is quiet in the morning. A boat is tied up at the moorage, and somebody asks:"
        " what do you say?"
    ),
    "Question: Which number comes after forty-one?\nAnswer:",
    "def greet(name):\n",
)
TOKENS, LIKELIEST = 8, 5  # greedy tokens of each run, each token with its likeliest alternatives
BASES = 3  # runs of the base model for each prompt, whose differences are the noise
# A few runs show only a part of the noise, so an adapter must differ by this many times the noise.
TIMES_NOISE = 3.0
# The smallest difference that counts. For the formats listed here it is two steps at a logit of 16
# to 32, which rounding alone can make; for other formats it is far below what any training does.
FLOORS = {"bfloat16": 0.25, "float16": 0.03125}
FLOOR = 1e-3

Run = Sequence[Mapping[int, float]]  # per generated token: log-probability (natural) by token id
Trial = tuple[Sequence[Run], Run]  # runs of the base model, and the adapter's


@dataclass(frozen=True)
class Proof:
    """What the answers say of an adapter; the `reason` is None while nothing was tried."""

    reason: AdapterReason | None
    message: str


NOT_TRIED = Proof(None, "")


def judge(prompts: Sequence[Trial], floor: float = FLOOR) -> Proof:
    """An adapter is proven when it differs from the base by more than noise on one prompt, and
    refused when one prompt is answered with NaN.

    Args:
        prompts: for each prompt the runs of the base model, made under the same conditions, and
            the adapter's.
        floor: the least difference that counts, by the engine's number format.
    """
    adapted = [run for _, run in prompts]
    spoilt = sum(map(_spoilt, adapted))
    if spoilt and not any(_spoilt(run) for bases, _ in prompts for run in bases):
        return Proof(
            AdapterReason.NOT_FINITE,
            f"its weights overflow: {spoilt} of {len(adapted)} prompts are answered with NaN",
        )
    measured = [(bases, run) for bases, run in prompts if run and bases and all(bases)]
    if not measured:
        return Proof(AdapterReason.UNPROVEN, "vLLM gave no log-probabilities")
    # The same prompt twice differs a little, by the order of sums in a batch.
    noise = max(
        (distance(*pair) for bases, _ in measured for pair in combinations(bases, 2)), default=0.0
    )
    largest = max(min(distance(base, run) for base in bases) for bases, run in measured)
    differ = f"log-probabilities differ from the base model's by up to {largest:.2g}"
    least = max(floor, TIMES_NOISE * noise)
    if largest > least:
        return Proof(
            AdapterReason.PROVEN,
            f"{differ}, and by up to {noise:.2g} between two runs of the base model",
        )
    if len(measured) < len(prompts):
        return Proof(AdapterReason.UNPROVEN, "vLLM gave no log-probabilities for some prompts")
    return Proof(
        AdapterReason.SAME_AS_BASE, f"{differ}; only more than {least:.2g} is more than noise"
    )


def distance(one: Run, other: Run) -> float:
    """The largest difference between two greedy runs of one prompt, up to the first token in which
    they differ.

    A token that is listed in one run only counts with the smallest log-probability that the other
    run lists.
    """
    largest = 0.0
    for row, against in zip(one, other, strict=False):
        for here, there in ((row, against), (against, row)):
            least = min(there.values())
            gaps = (
                abs(value - there[token]) if token in there else max(0.0, value - least)
                for token, value in here.items()
            )
            largest = max(largest, *(gap for gap in gaps if math.isfinite(gap)), 0.0)
        if max(row, key=row.__getitem__) != max(against, key=against.__getitem__):
            break
    return largest


def unmet(evaluation: Sequence[Expectation], answers: Sequence[str]) -> str:
    """What an evaluation found wrong, in one sentence; empty when every answer holds what was
    expected.
    """
    wrong = [
        (case, answer)
        for case, answer in zip(evaluation, answers, strict=True)
        if not case.is_met_by(answer)
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


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
