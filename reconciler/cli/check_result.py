"""What one check of `moorage doctor` found. `checkup` and `storage_checkup` make them, `doctor`
prints them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.engine.errors import ReconcileError


class Grade(StrEnum):
    """How a check ended."""

    OK = "ok"
    LIMITED = "limited"  # a run succeeds, and something beside it does not
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True)
class CheckResult:
    """One line of the report: what was found, what comes of it, what to do, and the command that
    does it or shows more. The last three are empty where nothing is to be done.
    """

    check: str
    grade: Grade
    message: str
    effect: str = ""
    remedy: str = ""
    command: str = ""


def unknown(check: str, error: ReconcileError) -> CheckResult:
    """Azure gave no answer, which fails nothing by itself."""
    return CheckResult(check, Grade.UNKNOWN, f"Azure does not say: {error.message}")
