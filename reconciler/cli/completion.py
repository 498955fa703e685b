"""`moorage completion SHELL`: the script with which a shell completes commands, options and names
of services. `context` declares the arguments that `services` completes.
"""

from __future__ import annotations

from typing import Annotated

import typer

from reconciler.cli.exits import CommandError, Exit

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_MOORAGE_COMPLETE"
ZSH = """\
if [[ $funcstack[1] == _moorage ]]; then
  _moorage_completion "$@"
else
  (( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
  {register}
fi
"""


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish", metavar="SHELL")],
) -> None:
    """Print the script that completes commands in a shell. For bash, put
    `source <(moorage completion bash)` into ~/.bashrc.
    """
    from typer._completion_shared import get_completion_script

    if shell not in SHELLS:
        raise CommandError(f"SHELL must be bash, zsh or fish, not {shell!r}", Exit.INVALID)
    script = get_completion_script(prog_name="moorage", complete_var=VARIABLE, shell=shell)
    print(_for_zsh(script) if shell == "zsh" else script)


def _for_zsh(script: str) -> str:
    """The script both to be sourced, where the completion system may not be loaded yet, and to be
    found in a folder of `fpath`, where its first call has to complete as well.
    """
    begin, _, end = script.rstrip().rpartition("\n")
    return "\n".join([begin, *ZSH.format(register=end).splitlines()])


def prepare() -> None:
    """Make typer answer the shell's questions, which the script puts into `VARIABLE`."""
    from typer._completion_classes import completion_init

    completion_init()
