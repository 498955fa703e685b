"""The options of `start` and `serve`: declared, passed to the detached server, and kept in the
store, so that a later start without them changes nothing. Used by `__main__`.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from .arm import roles
from .arm.limits import OFF, Bucket, Buckets
from .control import quotas
from .options import Options
from .store import Store

_SETTING = "options"
_NONE = "none"  # takes back a file that was given before

# option -> field of Options, and how its value becomes the field's
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "port": ("port", int),
    "operation_seconds": ("operation_s", lambda value: max(0.0, value)),
    "retry_after": ("retry_after_s", lambda value: max(0, value)),
    "page_size": ("page_size", lambda value: max(1, value)),
    "token_seconds": ("token_s", lambda value: max(1, value)),
    "idle_seconds": ("idle_s", lambda value: max(0.1, value)),
    "pace": ("real", lambda value: value == "real"),
    "rate_limits": ("rates", lambda value: value),
    "images": ("images", Path),
    "share_view": ("share_view", str),
    "speed": ("speed", lambda value: max(0.01, value)),
    "role": ("role", Path),
}


class Parser(argparse.ArgumentParser):
    """A parser whose error is one line: the command may have been typed as another program's."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"local Azure: {message}\n")


def declare(command: argparse.ArgumentParser) -> None:
    """Add the options. An option that is not given is None, and its last value stays in force."""
    for group in (_ground, _timing, _limits):
        group(command)


def given(arguments: argparse.Namespace) -> list[str]:
    """The options of this command line, as words of the server's command line."""
    return _words(_texts(arguments)) + [
        word for name, limit in arguments.quota for word in ("--quota", f"{name}={limit}")
    ]


def kept(options: Options, arguments: argparse.Namespace) -> Options:
    """The options in force: those of this command line, else those given last. They are kept in the
    store.
    """
    store = Store(options.database)
    try:
        texts = _merged(store, arguments)
        store.keep(_SETTING, json.dumps(texts))
    finally:
        store.close()
    parsed = _parsed(_words(texts))
    fields = {
        field: convert(getattr(parsed, name))
        for name, (field, convert) in _FIELDS.items()
        if name in texts
    }
    return Options(options.state_dir, quotas=tuple(arguments.quota), **fields)


def others(options: Options, arguments: argparse.Namespace) -> list[str]:
    """The options of this command line with which the running server was not started."""
    store = Store(options.database)
    try:
        now, wanted = _kept_texts(store), _merged(store, arguments)
        limits = [
            (name, value)
            for name, value in arguments.quota
            if store.read(f"quota:{name}") != str(value)
        ]
    finally:
        store.close()
    have, want = _parsed(_words(now)), _parsed(_words(wanted))
    differ = [name for name in _texts(arguments) if _field(have, name) != _field(want, name)]
    texts = {name: text for name, text in _texts(arguments).items() if name in differ}
    return _words(texts) + [
        word for name, value in limits for word in ("--quota", f"{name}={value}")
    ]


def _field(parsed: argparse.Namespace, name: str) -> Any:
    """The value of an option for its field of Options, its default included."""
    field, convert = _FIELDS[name]
    value = getattr(parsed, name)
    return getattr(Options, field) if value is None else convert(value)


def _merged(store: Store, arguments: argparse.Namespace) -> dict[str, str]:
    texts = {**_kept_texts(store), **_texts(arguments)}
    return {name: text for name, text in texts.items() if text != _NONE}


def _kept_texts(store: Store) -> dict[str, str]:
    return dict(json.loads(store.read(_SETTING) or "{}"))


def _texts(arguments: argparse.Namespace) -> dict[str, str]:
    values = {name: getattr(arguments, name) for name in _FIELDS}
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, Buckets):
        if value == OFF:
            return "off"
        kinds = ("reads", "writes", "deletes")
        return ",".join(f"{each}={value.of(each).size}/{value.of(each).rate:f}" for each in kinds)
    return str(value)


def _words(texts: dict[str, str]) -> list[str]:
    return [word for name, text in texts.items() for word in ("--" + name.replace("_", "-"), text)]


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = Parser(prog="local Azure")
    declare(parser)
    return parser.parse_args(words)


def _ground(command: argparse.ArgumentParser) -> None:
    """The options that say where the server finds things: its port, images, shares and faults."""
    command.add_argument(
        "--port", type=int, help="the HTTPS port; by default one is chosen once and kept"
    )
    command.add_argument(
        "--images",
        type=_file,
        help="the file that maps image names to Python environments; none for the one that comes"
        " with this program",
    )
    command.add_argument(
        "--share-view",
        choices=("plain", "smb"),
        help="how replicas see a share: plain (the default) as a directory, smb as SMB shows it,"
        " caches and refusals included (needs FUSE)",
    )
    command.add_argument(
        "--faults",
        type=Path,
        metavar="FILE",
        help="a script of faults that replaces the one in force",
    )


def _timing(command: argparse.ArgumentParser) -> None:
    """The options that set the pace: lengths of operations, speed of clocks."""
    command.add_argument(
        "--pace",
        choices=("fast", "real"),
        help="real: operations take Azure's minutes (fast, the default: tenths of seconds)",
    )
    command.add_argument(
        "--operation-seconds", type=float, help="base length of a long-running operation (0.1)"
    )
    command.add_argument(
        "--retry-after",
        type=int,
        help="send Retry-After in whole seconds; 0 (the default) sends retry-after-ms",
    )
    command.add_argument("--token-seconds", type=int, help="life of an access token (3600)")
    command.add_argument(
        "--idle-seconds", type=float, help="how long a connection may be silent (120)"
    )
    command.add_argument(
        "--speed", type=float, help="run replicas' timers this many times as fast (1)"
    )


def _limits(command: argparse.ArgumentParser) -> None:
    """The options that limit: request rates, quotas, the caller's role."""
    command.add_argument("--page-size", type=int, help="items per page of a list (100)")
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
        help="a role definition as az takes it: the caller may do what it grants, and nothing else;"
        " none for an owner",
    )


def _file(text: str) -> Path:
    return Path(text) if text == _NONE else Path(text).absolute()


def _role(text: str) -> Path:
    """The file of a role definition, as an absolute path."""
    file = _file(text)
    if text != _NONE:
        try:
            roles.read(file)
        except roles.RoleError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return file


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
