"""The table of faults in docs/local-azure.md, out of the one in the code: `python -m
tests.docs.faults` writes it.
"""

from __future__ import annotations

import re
from pathlib import Path

from infra.local_azure.faults.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "local-azure.md"
_MARKED = re.compile(r"(?<=<!-- faults -->\n).*(?=<!-- /faults -->)", re.DOTALL)
_HEAD = "| `fault` | planes | takes | what happens |\n|---|---|---|---|\n"


def page(text: str) -> str:
    """The page with the table as it must be."""
    rows = [
        f"| `{name}` | {', '.join(kind.planes)} |"
        f" {', '.join(_taken(*each) for each in kind.takes.items())} | {kind.does} |\n"
        for name, kind in KINDS.items()
    ]
    return _MARKED.sub(lambda _: _HEAD + "".join(rows), text)


def _taken(name: str, default: object) -> str:
    return (
        f"`{name}` ({default:g})" if isinstance(default, (int, float)) and default else f"`{name}`"
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
