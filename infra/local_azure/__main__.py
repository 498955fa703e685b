"""`python -m infra.local_azure {serve,start,stop,status,journal,faults} --state-dir DIR`: one local
Azure per state folder.
"""

import argparse
import asyncio
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from . import journal, lifecycle
from .arm import roles
from .arm.limits import OFF, Bucket, Buckets
from .control import quotas
from .faults import commands
from .options import Options

_PASSED_ON = (
    "port",
    "operation_seconds",
    "retry_after",
    "page_size",
    "token_seconds",
    "idle_seconds",
    "pace",
    "rate_limits",
    "images",
    "share_view",
    "speed",
    "role",
)


def main() -> int:
    arguments = _parser().parse_args()
    options = _options(arguments)
    os.umask(0o077)
    if arguments.command == "faults":
        return commands.run(options.faults, arguments)
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
    except BrokenPipeError:  # whoever read, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
            for declare in (_ground, _timing, _limits):
                declare(command)
    commands.declare(commands_of, "--state-dir")
    return parser


def _timing(command: argparse.ArgumentParser) -> None:
    """The options that set the pace: lengths of operations, speed of clocks."""
    command.add_argument(
        "--pace",
        choices=("fast", "real"),
        default="fast",
        help="real: operations take Azure's minutes (fast: tenths of seconds)",
    )
    command.add_argument(
        "--operation-seconds",
        type=float,
        default=0.1,
        help="base length of a long-running operation (0.1)",
    )
    command.add_argument(
        "--retry-after",
        type=int,
        default=0,
        help="send Retry-After in whole seconds; 0 sends retry-after-ms",
    )
    command.add_argument(
        "--token-seconds", type=int, default=3600, help="life of an access token (3600)"
    )
    command.add_argument(
        "--idle-seconds",
        type=float,
        default=120.0,
        help="how long a connection may be silent (120)",
    )
    command.add_argument(
        "--speed", type=float, default=1.0, help="run replicas' timers this many times as fast (1)"
    )


def _limits(command: argparse.ArgumentParser) -> None:
    """The options that limit: request rates, quotas, how long a connection may be silent."""
    command.add_argument(
        "--page-size", type=int, default=100, help="items per page of a list (100)"
    )
    command.add_argument(
        "--rate-limits",
        type=_rates,
        metavar="KIND=SIZE/PER_SECOND,...",
        help="request limits; off for none",
    )
    command.add_argument(
        "--quota",
        action="append",
        default=[],
        metavar="NAME=GPUS",
        type=_quota,
        help="set a GPU quota; NAME is that of its usage",
    )
    command.add_argument(
        "--role",
        type=_role,
        metavar="FILE",
        help="a role definition as az takes it: the caller may do what it grants, and nothing else",
    )


def _role(text: str) -> Path:
    """The file of a role definition, as an absolute path."""
    file = Path(text).absolute()
    try:
        roles.read(file)
    except roles.RoleError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return file


def _ground(command: argparse.ArgumentParser) -> None:
    """The options that say where the server finds things: its port, images, shares and faults."""
    command.add_argument(
        "--port", type=int, default=0, help="the HTTPS port; by default one is chosen once and kept"
    )
    command.add_argument(
        "--images", type=Path, help="the file that maps image names to Python environments"
    )
    command.add_argument(
        "--share-view",
        choices=("plain", "smb"),
        default="plain",
        help="how replicas see a share: plain as a directory, smb as SMB shows it, caches and"
        " refusals included (needs FUSE)",
    )
    command.add_argument(
        "--faults",
        type=Path,
        metavar="FILE",
        help="a script of faults that replaces the one in force",
    )


def _quota(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    known = [quota.name for quota in quotas.QUOTAS]
    if name not in known or not value.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=GPUS with a NAME of {', '.join(known)}"
        )
    return name, int(value)


def _rates(text: str) -> Buckets:
    """`reads=250/25,writes=200/10,deletes=200/10`; what is left out is as on Azure."""
    if text == "off":
        return OFF
    sizes: dict[str, Bucket] = {}
    for part in text.split(","):
        match = re.fullmatch(r"(reads|writes|deletes)=([1-9]\d*)/(\d+(?:\.\d+)?)", part.strip())
        if match is None or float(match[3]) <= 0:
            raise argparse.ArgumentTypeError(
                f"{part!r} is not KIND=SIZE/PER_SECOND with a KIND of reads, writes, deletes"
            )
        sizes[match[1]] = Bucket(int(match[2]), float(match[3]))
    return Buckets(**sizes)


def _options(arguments: argparse.Namespace) -> Options:
    state = arguments.state_dir.absolute()
    if "operation_seconds" not in arguments:
        return Options(state)
    more = {"images": arguments.images.absolute()} if arguments.images else {}
    return Options(
        state,
        port=arguments.port,
        operation_s=max(0.0, arguments.operation_seconds),
        retry_after_s=max(0, arguments.retry_after),
        page_size=max(1, arguments.page_size),
        token_s=max(1, arguments.token_seconds),
        speed=max(0.01, arguments.speed),
        quotas=tuple(arguments.quota),
        role=arguments.role,
        idle_s=max(0.1, arguments.idle_seconds),
        real=arguments.pace == "real",
        rates=arguments.rate_limits,
        share_view=arguments.share_view,
        **more,
    )


def _serve(options: Options, _arguments: argparse.Namespace) -> int:
    from . import server

    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        with lifecycle.hold(options):
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
    try:
        facts = lifecycle.start(options, _passed_on(arguments))
    except lifecycle.NotStarted as failed:
        print(f"local Azure: {failed}", file=sys.stderr)
        return 1
    except OSError as failed:
        print(f"local Azure: {failed.filename}: {failed.strerror}", file=sys.stderr)
        return 1
    _show(facts, arguments)
    return 0


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


def _passed_on(arguments: argparse.Namespace) -> list[str]:
    """The options that the detached server must be given."""
    passed = []
    for name in _PASSED_ON:
        value = getattr(arguments, name)
        if isinstance(value, Buckets):
            value = ",".join(
                f"{kind}={value.of(kind).size}/{value.of(kind).rate:f}"
                for kind in ("reads", "writes", "deletes")
            )
        if value is not None:
            passed += [
                "--" + name.replace("_", "-"),
                str(value.absolute() if isinstance(value, Path) else value),
            ]
    return passed + [
        word for name, limit in arguments.quota for word in ("--quota", f"{name}={limit}")
    ]


if __name__ == "__main__":
    sys.exit(main())
