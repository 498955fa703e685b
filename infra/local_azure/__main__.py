"""`python -m infra.local_azure {serve,start,stop,status,journal,faults} --state-dir DIR`: one local
Azure per state folder.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from . import journal, lifecycle, start_options
from .faults import commands
from .options import Options


def main() -> int:
    arguments = _parser().parse_args()
    options = Options(arguments.state_dir.absolute())
    os.umask(0o077)
    if arguments.command == "faults":
        code = commands.run(options.faults, arguments)
        if arguments.action in {"add", "load"}:
            _tell_other_code(options)
        return code
    if getattr(arguments, "faults", None) and (
        code := commands.load(options.faults, arguments.faults)
    ):
        return code
    command = {
        "serve": _serve,
        "start": _start,
        "stop": _stop,
        "status": _status,
        "journal": _journal,
    }[arguments.command]
    try:
        return command(options, arguments)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = start_options.Parser(
        prog="python -m infra.local_azure", description="A stand-in for Azure on this machine."
    )
    commands_of = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "run the server in the foreground"),
        ("start", "run the server in the background; at once when it runs already"),
        ("stop", "end the server, its replicas and its ingress"),
        ("status", "is it running, and where"),
        ("journal", "every request that was answered"),
    ):
        command = commands_of.add_parser(name, help=text, description=text)
        command.add_argument(
            "--state-dir",
            type=Path,
            required=True,
            help="the folder of this Azure's state (made when missing)",
        )
        if name != "serve":
            command.add_argument("-o", "--output", choices=("text", "json"), default="text")
        if name in {"serve", "start"}:
            start_options.declare(command)
    commands.declare(commands_of, "--state-dir")
    return parser


def _serve(options: Options, arguments: argparse.Namespace) -> int:
    from . import server

    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        with lifecycle.hold(options):
            options = start_options.kept(options, arguments)
            lifecycle.keep_code(options)
            # Not uvloop: no faster here (measured), and it hands pipe ends on to the detached
            # replicas and ingress.
            asyncio.run(
                server.run(
                    options,
                    lambda: print(f"local Azure is serving {options.state_dir}", flush=True),
                )
            )
    except BlockingIOError:
        print(f"another local Azure already serves {options.state_dir}", file=sys.stderr)
        return 1
    except OSError as refused:
        print(f"local Azure cannot serve {options.state_dir}: {refused}", file=sys.stderr)
        return 1
    return 0


def _start(options: Options, arguments: argparse.Namespace) -> int:
    before = lifecycle.running(options)
    try:
        facts = lifecycle.start(options, start_options.given(arguments))
    except lifecycle.NotStarted as failed:
        print(f"local Azure: {failed}", file=sys.stderr)
        return 1
    except OSError as failed:
        print(f"local Azure: {failed.filename}: {failed.strerror}", file=sys.stderr)
        return 1
    if others := start_options.others(options, arguments):
        print(
            f"local Azure: it runs already, without {' '.join(others)}; stop it first, and start it"
            " with these options",
            file=sys.stderr,
        )
        return 1
    _tell_other_code(options)
    _show({**facts, "started": before is None}, arguments)
    return 0


def _tell_other_code(options: Options) -> None:
    """Warn that the running server was started from another version of this code."""
    if lifecycle.runs_other_code(options):
        print(
            "the local Azure that runs was started by another version of this code, and does not"
            " know what is new here: stop it, and start it again",
            file=sys.stderr,
        )


def _stop(options: Options, arguments: argparse.Namespace) -> int:
    try:
        stopped = lifecycle.stop(options, tell=_tell_left)
    except lifecycle.NotStarted as failed:
        print(f"local Azure: {failed}", file=sys.stderr)
        return 1
    _show({"stopped": stopped}, arguments)
    return 0


def _tell_left(replicas: int) -> None:
    print(f"local Azure: {replicas} replicas are ending", file=sys.stderr)


def _status(options: Options, arguments: argparse.Namespace) -> int:
    _show(lifecycle.status(options), arguments)
    return 0


def _journal(options: Options, arguments: argparse.Namespace) -> int:
    entries = list(journal.read(options.journal))
    if arguments.output == "json":
        print(json.dumps(entries))
        return 0
    for entry in entries:
        query = f"?{entry['query']}" if entry.get("query") else ""
        head = f"{entry['time']}  {entry['status']}  {entry['plane']:5}  {entry['method']:6}"
        print(f"{head} {entry['path']}{query}  {entry['client']}")
    return 0


def _show(facts: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.output == "json":
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        if value is not None:
            print(f"{name}: {value if not isinstance(value, bool) else 'yes' if value else 'no'}")


if __name__ == "__main__":
    sys.exit(main())
