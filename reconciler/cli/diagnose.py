"""`moorage diagnose`: one report about a service for a bug or a colleague, without secrets. What
cannot be had is said in its place, because a report is asked for when something is broken.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    StateDir,
    Target,
    documents_of,
    open_store,
    settings_of,
)
from reconciler.cli.exits import CommandError, words
from reconciler.cli.output.subject import subject_in
from reconciler.cli.unknown import check_service, services_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.arm.clients import Arm
    from reconciler.cli.hidden import HiddenValues
    from reconciler.engine.store import Store

EVENTS = 40
LOG_LINES = 60
DAEMON_BYTES = 16384
_IDS = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)


def diagnose(
    service: Annotated[
        str, typer.Argument(help="One InferenceService; all, if left out.", metavar="SERVICE")
    ] = "",
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Print one report to paste into a bug. Versions, documents, status, events and logs, without
    secrets, ids of subscriptions and the home folder's name.
    """
    from reconciler.cli.hidden import HiddenValues

    store, title, folder = open_store(target, state_dir)
    if service and services_in(store):
        check_service(store, service, title)
    hidden = HiddenValues(os.environ)
    sections: list[tuple[str, Callable[[], str]]] = [
        ("Versions", _versions),
        ("Target and documents", lambda: str(subject_in(store, title))),
        ("Settings", _settings),
        ("Documents", lambda: _documents(hidden)),
        ("Status", lambda: _status(target, state_dir, service)),
        ("Events", lambda: _events(store, service)),
        ("Log of the daemon", lambda: _tail(folder / "daemon.log")),
        ("Logs of the replicas", lambda: _logs(store, service, target, state_dir)),
    ]
    for name, write in sections:
        print(f"## {name}\n\n```\n{cleaned(hidden.clean(_attempt(write)))}\n```\n")


def cleaned(text: str) -> str:
    """`text` without what looks like a secret, an id of Azure or the home folder."""
    from reconciler.logs import masked

    home = str(Path(os.path.expanduser("~")))  # noqa: PTH111 - unlike Path.home, it never fails
    hidden = _IDS.sub("(id)", masked(text))
    return hidden.replace(home, "~") if len(home) > 1 else hidden


def _attempt(write: Callable[[], str]) -> str:
    try:
        return write() or "(nothing)"
    except CommandError as error:
        return f"(not available: {error})"
    except OSError as error:
        return f"(not available: {error.filename or type(error).__name__}: {words(error)})"
    except Exception as error:  # noqa: BLE001 - a part that is broken is part of the report
        return f"(not available: {type(error).__name__}: {error})"


def _versions() -> str:
    from importlib.metadata import version

    names = ("moorage", "azure-identity", "azure-mgmt-appcontainers", "aiohttp", "pydantic")
    lines = [f"{name} {version(name)}" for name in names]
    return "\n".join([*lines, f"Python {platform.python_version()}", platform.platform()])


def _settings() -> str:
    """The names of the settings that are given, and never their values."""
    given = [name for name in sorted(os.environ) if name.startswith(("MOORAGE_", "AZURE_", "HF_"))]
    return f"given in the environment: {', '.join(given) or 'none'}"


def _documents(hidden: HiddenValues) -> str:
    """The documents as data, without comments and what may be secret."""
    from reconciler.api.manifest_files import manifest_files, read_file
    from reconciler.api.problems import Problem

    problems: list[Problem] = []
    parts = []
    for file in manifest_files(documents_of(None), problems):
        parts.append(f"# {file}")
        parts.append(_without_values(read_file(file, problems) or b"", hidden))
    return "\n".join([*parts, *map(str, problems)])


def _without_values(data: bytes, hidden: HiddenValues) -> str:
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    text = StringIO()
    try:
        yaml.dump_all([hidden.of_document(each) for each in yaml.load_all(data)], text)
    except (YAMLError, ValueError, RecursionError):
        return "(left out: it is no valid YAML; `moorage validate` says where)"
    return text.getvalue()


def _status(target: Target, state_dir: StateDir, service: str) -> str:
    from reconciler.cli.output.status_text import lines_of
    from reconciler.cli.status import read

    value, subject = read(target, state_dir)
    if service:
        value["documents"] = [
            each
            for each in value["documents"]
            if each["kind"] != "InferenceService" or each["name"] == service
        ]
    return "\n".join(line.plain for line in lines_of(value, str(subject), None))


def _events(store: Store | None, service: str) -> str:
    from reconciler.cli.events import as_value

    found = store.events() if store else ()
    about = [each for each in found if service in ("", each.document.name)][-EVENTS:]
    return "\n".join(
        "{last}  {type}  {reason}  {object}  {message}".format(**as_value(each)) for each in about
    )


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - DAEMON_BYTES))
        text = file.read(DAEMON_BYTES).decode(errors="replace")
    return text.partition("\n")[2] if size > DAEMON_BYTES else text


def _logs(store: Store | None, service: str, target: Target, state_dir: StateDir) -> str:
    rows = store.documents() if store else ()
    names = [row.ref.name for row in rows if row.ref.kind == "InferenceService"]
    wanted = [name for name in names if service in ("", name)]
    return "\n".join(asyncio.run(_all_logs(wanted, target, state_dir)))


async def _all_logs(services: list[str], target: Target, state_dir: StateDir) -> list[str]:
    from reconciler.arm.clients import Arm

    lines: list[str] = []
    async with Arm(settings_of(target, state_dir)) as arm:
        for service in services:
            lines.append(f"# {service}")
            try:
                async with asyncio.timeout(30):
                    lines += [line async for line in _service_logs(arm, service)]
            except (CommandError, TimeoutError) as error:
                lines.append(f"({error or 'no answer within 30 s'})")
    return lines


async def _service_logs(arm: Arm, service: str) -> AsyncIterator[str]:
    from reconciler.arm.logs import event_endpoint, log_token, stream_logs
    from reconciler.cli.apps import find_app
    from reconciler.cli.logs import containers

    group, app = await find_app(arm, service)
    name = str(app["name"])
    token = await log_token(arm, group, name)
    events = event_endpoint(arm, group, name, str(app["properties"].get("eventStreamEndpoint")))
    for label, url in [("platform", events), *await containers(arm, group, name)]:
        async for line in stream_logs(arm, url, token, follow=False, tail=LOG_LINES):
            yield f"{label}: {line}"
