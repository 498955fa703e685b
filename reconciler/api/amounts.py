"""Amounts in documents: memory in Gi, and which number somebody meant who wrote one with a unit or
a comma. `explain` says it in its hints.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from reconciler.api.durations import UNITS
from reconciler.api.fields import Fault, refusal

_MEMORY = re.compile(r"\d+(\.\d+)?Gi", re.ASCII)
_AMOUNT = re.compile(r"(?P<number>\d{1,15}([.,]\d{1,9})?)\s*(?P<unit>[A-Za-z%]*)", re.ASCII)
_GIB = {"g": 1.0, "gi": 1.0, "m": 1 / 1024, "mi": 1 / 1024, "t": 1024.0, "ti": 1024.0}
_MOST_GIB = 512  # a number alone is in Gi up to here, and in Mi above
_STEP = 0.5  # the steps in which Container Apps has memory
# The units that a field's description names, and by what one of them is written as well.
_UNITS = {
    "cores": {"m": 1e-3, "core": 1.0, "cores": 1.0, "vcpu": 1.0, "cpu": 1.0},
    "gib": {"g": 1.0, "gb": 1.0, "gi": 1.0, "gib": 1.0, "t": 1024.0, "tb": 1024.0, "ti": 1024.0},
    "days": {"d": 1.0, "day": 1.0, "days": 1.0},
    "hundred": {"%": 1.0},
    "percent": {"%": 1.0},
    "%": {"%": 1.0},
}


def _gibibytes(value: str) -> str:
    if not _MEMORY.fullmatch(value) or float(value.removesuffix("Gi")) == 0:
        hint = _memory_meant(value) or "write it in Gi, such as 8Gi"
        raise refusal(Fault(f"{value[:60]!r} is no amount of memory", hint))
    return value


Memory = Annotated[str, AfterValidator(_gibibytes)]


def _memory_meant(value: str) -> str:
    match = _AMOUNT.fullmatch(value.strip())
    if match is None:
        return ""
    number, unit = float(match["number"].replace(",", ".")), match["unit"].lower()
    if not unit:
        gib = number if number <= _MOST_GIB else number / 1024
    else:
        gib = number * _GIB.get(unit.removesuffix("b"), 0)
    rounded = round(gib / _STEP) * _STEP
    return f"write {rounded:g}Gi" if 0 < rounded <= 4 * _MOST_GIB else ""


def number_meant(text: str, described: str, *, whole: bool) -> str:
    """The number that `text` stands for in a field with this description, as it is to be written;
    empty where that is not clear.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        return ""
    number, unit = float(match["number"].replace(",", ".")), match["unit"].lower()
    number *= _factor(unit, described.lower())
    if not number or (whole and number % 1):
        return ""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _factor(unit: str, described: str) -> float:
    """By what a number with this unit is multiplied; 0 where the field has no such unit."""
    if not unit:
        return 1.0
    if described.startswith("seconds") or " seconds" in described:
        return float(UNITS.get(unit, 0))
    return next(
        (units[unit] for word, units in _UNITS.items() if word in described and unit in units), 0.0
    )
