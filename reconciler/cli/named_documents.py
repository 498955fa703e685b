"""`-f` for the commands that speak of documents that were run: they find the state of these
documents from any folder. `app` gives it to each command with a `--state-dir`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from reconciler.cli.place import naming_documents

Named = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        help=(
            "The documents that are meant, a file or a folder of them; may be given more than once"
            " (default: moorage.yaml here or above, or the documents in this folder)."
        ),
        metavar="PATH",
    ),
]


def finding_state(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, with `-f` if it needs a state directory and takes no documents itself."""
    signature = inspect.signature(command, eval_str=True)
    if "state_dir" not in signature.parameters or _takes_documents(signature):
        return command

    @functools.wraps(command)
    def found(*, named: list[Path] | None = None, **given: Any) -> Any:
        with naming_documents(named or ()) as folder:
            if given["state_dir"] is None:
                given["state_dir"] = folder
            return command(**given)

    option = inspect.Parameter(
        "named", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Named
    )
    plain = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in signature.parameters.values()
    ]
    at = [each.name for each in plain].index("state_dir")
    parameters = [*plain[:at], option, *plain[at:]]
    found.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    found.__annotations__ = {each.name: each.annotation for each in parameters}
    return found


def _takes_documents(signature: inspect.Signature) -> bool:
    return any(
        "-f" in (getattr(note, "param_decls", None) or ())
        for each in signature.parameters.values()
        for note in getattr(each.annotation, "__metadata__", ())
    )
