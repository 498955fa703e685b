"""What a person can ask: a model, or one of the two versions of an adapter that has a canary. A
request reaches a version by the text that decides which one answers (`x-moorage-sticky`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from itertools import count

from reconciler.chat.endpoint import ServedModel

CANARY, PRESENT = " (canary version)", " (present version)"


def choices(models: Sequence[ServedModel], canaries: Collection[str]) -> list[str]:
    """The models by name; of an adapter with a canary each version as well."""
    found = []
    for model in models:
        found.append(model.name)
        if model.name in canaries:
            found += [model.name + PRESENT, model.name + CANARY]
    return found


def asked(choice: str) -> tuple[str, str]:
    """The model of a choice, and the text that leads to its version."""
    for ending, wanted in ((CANARY, 0.0), (PRESENT, 1.0)):
        if choice.endswith(ending):
            name = choice.removesuffix(ending)
            return name, _text_at(name, wanted)
    return choice, ""


def _text_at(name: str, wanted: float) -> str:
    """A text whose position is within 1 % of `wanted`: below every weight of a canary, or above."""
    return next(
        text
        for text in (f"moorage-chat-{number}" for number in count())
        if abs(position(name, text) - wanted) < 0.01
    )


def position(name: str, sticky: str) -> float:
    """As the replicas compute it (`serving.request.traffic`): from 0 to below 1; below its weight
    the canary answers.
    """
    digest = hashlib.sha256(f"{name}\0{sticky}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
