"""The ready block: how to use the services that were just deployed, with commands to paste."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.api.conditions import ConditionType, Status
from reconciler.web.snippets import Access, curl, python
from reconciler.web.status import status_of

if TYPE_CHECKING:
    from reconciler.engine.store import Store
    from reconciler.settings import Settings


def ready_block(store: Store, settings: Settings, *, whole: bool = True) -> str:
    """Target, endpoint, key, models, curl and Python for every service, and the gateways' addresses
    after them. If not everything is as the documents say (`whole` is false), it lists only services
    that answer.
    """
    documents = status_of(store, settings.target_title, {})["documents"]
    ready = [one for one in documents if whole or _is_ready(one)]
    services = [_service(d, settings) for d in ready if d["kind"] == "InferenceService"]
    gateways = [_gateway(d, settings) for d in ready if d.get("gateway")]
    return "\n".join([*services, *gateways])


def _is_ready(document: Mapping[str, Any]) -> bool:
    return any(
        each["type"] == ConditionType.READY and each["status"] == Status.TRUE
        for each in document["conditions"]
    )


def _gateway(environment: dict[str, Any], settings: Settings) -> str:
    gateway = environment["gateway"]
    name = gateway["name"]
    return "\n".join(
        [
            f"gateway of Environment {environment['name']}, for all its services",
            f"  endpoint  {gateway['endpoint']}",
            f"  API key   {_program()} key {name}{_options(settings)}",
            f"  clients   {_program()} client {name}{_options(settings)}",
            "",
        ]
    )


def _program() -> str:
    """How the command is called from here."""
    called = Path(sys.argv[0])
    on_path = shutil.which("moorage")
    if called.name != "moorage" or (on_path and Path(on_path).samefile(called)):
        return "moorage"
    return _short(called)


def access_of(
    service: Mapping[str, Any],
    settings: Settings,
    *,
    name: str = "",
    key: str = "",
    whole: bool = False,
) -> Access:
    """How clients reach a service of the status; `name` is that of an API key, `key` its value.
    `whole` is for settings that are used in other folders: they need the whole path of a file.
    """
    chosen = f" --name {name}" if name else ""
    return Access(
        service["name"],
        service["endpoint"],
        tuple(service["models"]),
        _trusted(settings.ca_file, whole=whole),
        f"{_program()} key {service['name']}{chosen}{_options(settings)}",
        key,
        sys.executable if whole else _short(Path(sys.executable)),
    )


def _trusted(file: Path | None, *, whole: bool) -> str:
    if file is None:
        return ""
    return str(file.absolute()) if whole else _short(file)


def _service(service: dict[str, Any], settings: Settings) -> str:
    name, endpoint, models = service["name"], service["endpoint"], service["models"]
    lines = [f"{name} on the {settings.target_title}", f"  endpoint  {endpoint}"]
    if not models:
        return "\n".join([*lines, ""])
    access = access_of(service, settings)
    return "\n".join(
        [
            *lines,
            f"  models    {', '.join(models)}",
            f"  API key   {access.key_command}",
            f"  clients   {_program()} client {name}{_options(settings)}",
            "",
            "  with curl:",
            "",
            curl(access),
            "",
            "  with the openai package:",
            "",
            python(access),
            "",
        ]
    )


def _options(settings: Settings) -> str:
    """The options with which `moorage key` reaches the same target."""
    state = "" if str(settings.state_dir) == ".moorage" else f" --state-dir {settings.state_dir}"
    return settings.target_option + state


def _short(path: Path) -> str:
    """The path relative to the current folder, if it is below this folder."""
    absolute = path.absolute()
    return (
        str(absolute.relative_to(Path.cwd()))
        if absolute.is_relative_to(Path.cwd())
        else str(absolute)
    )
