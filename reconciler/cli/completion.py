"""`moorage completion SHELL`: the script with which a shell completes commands, options and names
of services. `context` declares the arguments that `services` completes.
"""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.exits import CommandError, Exit

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_MOORAGE_COMPLETE"


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish", metavar="SHELL")],
) -> None:
    """Print the script that completes commands in a shell. For bash, put
    `source <(moorage completion bash)` into ~/.bashrc.
    """
    from typer._completion_shared import get_completion_script

    if shell not in SHELLS:
        raise CommandError(f"SHELL must be {', '.join(SHELLS)}, not {shell!r}", Exit.INVALID)
    script = get_completion_script(prog_name="moorage", complete_var=VARIABLE, shell=shell)
    # sourced as well as autoloaded, zsh may not have its completion system loaded yet
    load = "autoload -Uz compinit && compinit\n" if shell == "zsh" else ""
    first, _, rest = script.partition("\n") if load else ("", "", script)
    print(f"{first}\n{load}{rest}" if load else rest)


def prepare() -> None:
    """Make typer answer the shell's questions, which the script puts into `VARIABLE`."""
    from typer._completion_classes import completion_init

    completion_init()
