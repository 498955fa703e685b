"""What programs read: with `-o json` a command prints one value, and a command that fails prints
its error, in the same envelope. docs/status.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.cli.output.subject import Subject

API_VERSION = "moorage.dev/v1alpha1"
FORMATS = ("text", "json")
Output = Annotated[
    str, typer.Option("--output", "-o", help="How to print: text or json.", metavar="FORMAT")
]


def check_output(output: str, hint: str = "") -> bool:
    """True for json; exit code 2 for anything but text and json."""
    if output not in FORMATS:
        raise CommandError(f"--output must be text or json, not {output!r}{hint}", Exit.INVALID)
    return output == "json"


def envelope(kind: str, subject: Subject | None = None) -> dict[str, Any]:
    """What every value begins with; target and set are null where a command speaks of none."""
    documents = subject.documents if subject else None
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "target": subject.target if subject else None,
        "set": documents.as_value() if documents else None,
    }


def print_value(kind: str, value: Mapping[str, Any], subject: Subject | None = None) -> None:
    """Print a value in the envelope."""
    print_bare({**envelope(kind, subject), **value})


def print_bare(value: Mapping[str, Any]) -> None:
    """Print a value whose format is another tool's, without the envelope."""
    print(json.dumps(value, indent=2, default=str), flush=True)


def print_error(
    message: str,
    code: int,
    reason: str | None = None,
    problems: Sequence[Mapping[str, Any]] = (),
    subject: Subject | None = None,
) -> None:
    """Print the error of a command in one line, which also ends a stream of lines."""
    value = {
        **envelope("Error", subject),
        "exitCode": int(code),
        "reason": reason,
        "message": message,
        "problems": list(problems),
    }
    print(json.dumps(value), flush=True)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, also one that is wrong elsewhere."""
    words = list(arguments)
    if "--" in words:
        words = words[: words.index("--")]
    return any(word in ("-ojson", "--output=json") for word in words) or any(
        option in ("-o", "--output") and value == "json" for option, value in pairwise(words)
    )
