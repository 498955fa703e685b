"""`moorage adapter`: commands for adapters. `check` runs on a local folder the same checks as a
save and a replica; the other commands are in adapter_versions.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import adapter_versions
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say

if TYPE_CHECKING:
    from serving.preflight import Findings

app = typer.Typer(
    no_args_is_help=True, help="Check adapters, list their versions, promote or roll back."
)
app.command("list")(adapter_versions.list_adapters)
app.command()(adapter_versions.promote)
app.command()(adapter_versions.rollback)

Folder = Annotated[
    Path,
    typer.Argument(
        help="The adapter, a folder as peft saves it.", metavar="DIR", show_default=False
    ),
]


@app.command()
def check(
    folder: Folder,
    base: Annotated[
        Path | None,
        typer.Option(
            help="The base model's folder, to compare shapes and layers with.", metavar="DIR"
        ),
    ] = None,
    tower: Annotated[
        bool,
        typer.Option(
            "--tower", help="The engine runs with enable-tower-connector-lora.", show_default=False
        ),
    ] = False,
    max_rank: Annotated[
        int,
        typer.Option(
            help="The engine's max-lora-rank (default: the highest vLLM takes).", metavar="RANK"
        ),
    ] = 0,
    output: Output = "text",
) -> None:
    """Say whether vLLM can serve an adapter. Needs no GPU and changes nothing. Exit code 2 with a
    sentence for each reason why not.
    """
    from reconciler.api.engine_flags import LORA_RANKS, MAX_LORA_RANK
    from serving.preflight import check_adapter, model_fault

    as_json = check_output(output)
    if max_rank and max_rank not in LORA_RANKS:
        raise CommandError(
            f"--max-rank must be one of {', '.join(map(str, LORA_RANKS))}, not {max_rank}",
            Exit.INVALID,
        )
    if base is not None and (fault := model_fault(base)):
        raise CommandError(fault, Exit.INVALID)
    names = (base.resolve().name,) if base else ()
    found = check_adapter(folder, base, max_rank or MAX_LORA_RANK, base_names=names, tower=tower)
    memory = found.memory(
        max_rank or next((rank for rank in LORA_RANKS if rank >= found.rank), MAX_LORA_RANK)
    )
    if as_json:
        print_value("AdapterCheck", _value(found, memory))
    else:
        say(_text(folder, found, memory, base))
    if found.problems:
        raise typer.Exit(Exit.INVALID)


def _value(found: Findings, memory: int) -> dict[str, Any]:
    shown = {
        "loadable": not found.problems,
        "problems": found.problems,
        "notes": found.notes,
        "rank": found.rank,
        "baseModel": found.base_model,
    }
    return {
        **shown,
        "targetModules": found.target_modules,
        "bytes": found.size,
        "memoryBytes": memory,
    }


def _text(folder: Path, found: Findings, memory: int, base: Path | None) -> str:
    if found.problems:
        return "\n".join(f"{folder}: cannot be served: {problem}" for problem in found.problems)
    facts = (
        f"rank {found.rank}, {found.size / 1e6:.1f} MB, {memory / 1e6:.1f} MB in the engine's"
        " memory"
    )
    against = "" if base else "; give --base to compare it with its model"
    first = f"{folder}: loadable ({facts}; {', '.join(found.target_modules)}){against}"
    return "\n".join([first, *(f"{folder}: note: {note}" for note in found.notes)])
