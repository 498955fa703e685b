"""The tables of reasons in docs/conditions.md, out of the code: `python -m tests.docs.conditions`
writes them.
"""

from __future__ import annotations

import re
from pathlib import Path

from reconciler.api.reasons import AzureCode, Reason
from reconciler.arm.errors import TABLE
from reconciler.arm.remedies import LOOP, remedy_of_code

PAGE = Path(__file__).parents[2] / "docs" / "conditions.md"
_REASONS = re.compile(r"(?<=<!-- reasons -->\n).*(?=<!-- /reasons -->)", re.DOTALL)
_CODES = re.compile(r"(?<=<!-- codes -->\n).*(?=<!-- /codes -->)", re.DOTALL)


def page(text: str) -> str:
    """The page with the tables as they must be."""
    reasons = "| reason | meaning | what to do |\n|---|---|---|\n" + "".join(
        f"| `{reason}` | {reason.cause} | {reason.remedy} |\n" for reason in Reason
    )
    codes = "| reason | the loop | what to do |\n|---|---|---|\n" + "".join(
        f"| `{AzureCode(code)}` | {LOOP[rule.kind]} | {remedy_of_code(code)} |\n"
        for code, rule in sorted(TABLE.items())
        if not rule.reason
    )
    return _CODES.sub(lambda _: codes, _REASONS.sub(lambda _: reasons, text))


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
