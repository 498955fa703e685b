"""Puts the commands together and runs one. Usage errors, invalid documents and invalid settings end
with exit code 2 and without a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from reconciler.cli import (
    accept,
    adapter,
    approve,
    chat,
    client,
    completion,
    diagnose,
    diff,
    doctor,
    down,
    events,
    explain,
    export,
    history,
    import_project,
    init,
    key,
    local_azure,
    logs,
    notify,
    open_page,
    pause,
    plan,
    promote,
    restart,
    role,
    rollback,
    schema,
    status,
    take_over,
    toolkit,
    train,
    up,
    usage,
    validate,
    wait,
)
from reconciler.cli.command_help import Command
from reconciler.cli.exits import CommandError, Exit, words
from reconciler.cli.failure import subject_of_line
from reconciler.cli.named_documents import finding_state
from reconciler.cli.output.envelope import print_error, wants_json
from reconciler.cli.output.layout import say
from reconciler.cli.output.terminal import guarded

if TYPE_CHECKING:
    from reconciler.engine.errors import ReconcileError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of an output or a disk
SENTENCE = 200  # characters; the first sentence about a command is shorter, and never cut


class _Grouped(TyperGroup):
    """Help with a heading for each group of commands; `rich_help_panel` is what typer calls the
    group.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, one in self.commands.items():
            panel = getattr(one, "rich_help_panel", None)
            groups.setdefault(panel if isinstance(panel, str) else "Commands", []).append(
                (name, one.get_short_help_str(SENTENCE))
            )
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"moorage {version('moorage')}")
        raise typer.Exit


app = typer.Typer(
    name="moorage",
    cls=_Grouped,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    init.init,
    up.up,
    validate.validate,
    plan.plan,
    diff.diff,
    accept.accept,
    approve.approve,
    take_over.take_over,
    history.history,
    promote.promote,
    rollback.rollback,
    status.status,
    events.events,
    logs.logs,
    key.key,
    usage.usage,
    client.client,
    wait.wait,
    diagnose.diagnose,
    doctor.doctor,
    pause.pause,
    pause.resume,
    pause.reconcile,
    restart.restart,
    restart.warm,
):
    app.command()(command)
app.command("open")(open_page.open_page)
app.command()(chat.chat)
app.command()(down.down)
app.command()(train.train)
app.command()(explain.explain)
app.command()(role.role)
app.command()(schema.schema)
app.command()(completion.completion)
app.command()(notify.notify)
app.add_typer(adapter.app, name="adapter")
app.add_typer(export.app, name="export")
app.add_typer(local_azure.app, name="local-azure")
for name, one in (
    ("import", import_project.import_project),
    ("provision", toolkit.provision),
    ("deploy", toolkit.deploy),
):
    app.command(name, rich_help_panel="AI Toolkit projects")(one)


def _explained(group: typer.Typer) -> None:
    """Give every command the same help, and `-f` where it finds the state."""
    for command in group.registered_commands:
        command.cls = Command
        if command.callback is not None:
            command.callback = finding_state(command.callback)
    for each in group.registered_groups:
        each.cls = _Grouped
        if each.typer_instance is not None:
            _explained(each.typer_instance)


_explained(app)


@app.callback()
def about(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_version
        ),
    ] = False,
) -> None:
    """Fine-tuned language models served on Azure Container Apps exactly as a YAML file says."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code. Printed text cannot control the terminal."""
    if completion.VARIABLE in os.environ:
        completion.prepare()
    with guarded():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    end = _End(arguments)
    try:
        code = app(list(arguments), prog_name="moorage", standalone_mode=False)
        sys.stdout.flush()  # what cannot be written is known here, and not after the end
        return code if isinstance(code, int) else Exit.DONE
    except CommandError as error:
        return end.fail(str(error), error.code)
    except TyperException as error:
        if end.as_json:
            return end.fail(error.format_message(), Exit.INVALID)
        show = getattr(error, "show", None)  # usage errors show the usage as well
        show() if show else print(error, file=sys.stderr)
        return Exit.INVALID
    except (KeyboardInterrupt, typer.Abort):
        return end.fail("interrupted", Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader closed the pipe (`moorage events | head`), which is no error.
        sys.stderr.close()
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 - no traceback ever reaches a user
        return _known(error, end)


class _End:
    """How a command that failed ends: with a sentence, for a program also with a value on standard
    output.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments, self.as_json = arguments, wants_json(arguments)

    def fail(
        self,
        message: str,
        code: int,
        reason: str | None = None,
        problems: Sequence[Mapping[str, Any]] = (),
    ) -> int:
        if self.as_json:
            subject = subject_of_line(typer.main.get_command(app), self.arguments)
            try:
                print_error(message, code, reason, problems, subject)
                sys.stdout.flush()
            except OSError:
                _leave_full_output()
        say(message, aside=True)
        return code


def _known(error: Exception, end: _End) -> int:
    """The sentence for an error that a command did not handle. Any other error is a defect: its
    text goes to the log, and the user reads one sentence.
    """
    from reconciler.api.problems import ManifestError
    from reconciler.engine.errors import ReconcileError, WaitingForHuman
    from reconciler.settings import SettingsError
    from reconciler.sources.identity import NoIdentityError

    if isinstance(error, ManifestError):
        return end.fail(str(error), Exit.INVALID, problems=[p.as_value() for p in error.problems])
    if isinstance(error, SettingsError | NoIdentityError):
        return end.fail(str(error), Exit.INVALID)
    if isinstance(error, ReconcileError):
        code = Exit.HUMAN if isinstance(error, WaitingForHuman) else Exit.FAILED
        return end.fail(_with_remedy(error), code, str(error.reason))
    if isinstance(error, OSError) and error.filename is not None:
        return end.fail(f"{error.filename}: {words(error)}", Exit.FAILED)
    if isinstance(error, OSError) and error.errno in _FULL:
        try:
            sys.stdout.flush()
        except OSError:
            _leave_full_output()
        return end.fail(f"No more can be written: {words(error)}.", Exit.FAILED)
    from reconciler.logs import keep_traceback

    where = keep_traceback(error)
    said = (
        f"Moorage met an error it does not know ({type(error).__name__}); the details are in"
        f" {where}"
    )
    return end.fail(said, Exit.FAILED)


def _with_remedy(error: ReconcileError) -> str:
    """What Azure or the network refused, and what to do, unless the message says it already."""
    from reconciler.web.axes import remedy_of

    text, remedy = f"{error.reason}: {error.message}", remedy_of(error.reason)
    return text if not remedy or remedy in text else f"{text}\nwhat to do: {remedy}"


def _leave_full_output() -> None:
    """Print no more to a standard output that takes nothing, as Python would at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
