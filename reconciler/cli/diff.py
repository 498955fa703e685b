"""`moorage diff`: the loop's own comparison of what was asked with what Azure says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import Output, check_output, print_json
from reconciler.cli.exits import CommandError, Exit, words

if TYPE_CHECKING:
    from reconciler.engine.diff import Comparison
    from reconciler.engine.rules import Rules


def diff(
    kind: Annotated[
        str,
        typer.Argument(
            help="container-app, environment, environment-storage, storage-account, file-share,"
            " log-analytics, resource-group or job.",
            metavar="KIND",
        ),
    ],
    asked: Annotated[
        Path,
        typer.Option(
            "--asked", help="The body of a PUT or PATCH, as JSON; - is stdin.", metavar="FILE"
        ),
    ],
    found: Annotated[
        Path,
        typer.Option("--found", help="The body that a GET answers with.", metavar="FILE"),
    ],
    output: Output = "text",
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 if anything differs.")
    ] = False,
) -> None:
    """Compare a request with what Azure says, as the daemon does. It reads the two files and
    nothing else.
    """
    from reconciler.engine.diff import compare

    as_json = check_output(output)
    rules = _rules_of(kind)
    comparison = compare(_body(asked), _body(found), rules)
    if as_json:
        print_json(_as_value(comparison))
    else:
        _show(comparison)
    if detailed_exitcode and comparison.changes:
        raise typer.Exit(Exit.PENDING)


def _rules_of(name: str) -> Rules:
    from reconciler.api.kinds import Kind
    from reconciler.kinds import rules_of

    kinds = {kind.module.replace("_", "-"): kind for kind in Kind if kind.arm}
    kind = kinds.get(name)
    if kind is None:
        raise CommandError(f"{name} is no kind to compare: {', '.join(kinds)}.", Exit.INVALID)
    return rules_of(kind)


def _body(path: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
        body = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {words(error)}", Exit.INVALID) from None
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise CommandError(f"{place}: this is no JSON: {error.msg}", Exit.INVALID) from None
    except RecursionError:
        raise CommandError(f"{path}:1:1: it is nested too deeply", Exit.INVALID) from None
    if not isinstance(body, dict):
        raise CommandError(
            f"{path}:1:1: the body of a resource is a JSON object, not {type(body).__name__}",
            Exit.INVALID,
        )
    return body


def _as_value(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON, see docs/diff.md."""
    return {
        "changes": [
            {"path": change.path, "asked": change.after, "found": change.before}
            for change in comparison.changes
        ],
        "suppressed": [
            {"path": each.path, "asked": each.asked, "found": each.found, "class": str(each.why)}
            for each in comparison.suppressed
        ],
    }


def _show(comparison: Comparison) -> None:
    for change in comparison.changes:
        print(f"~ {change}")
    for each in comparison.suppressed:
        print(f"  {each.path}: {each.why}")
    counts = f"{len(comparison.changes)} changed", f"{len(comparison.suppressed)} suppressed"
    print(", ".join(counts) if comparison.changes else f"nothing differs; {counts[1]}")
