"""`moorage key`: an API key of a service or a gateway, read from Azure and printed alone, so that
`$(moorage key phi)` works.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import (
    Service,
    StateDir,
    Target,
    Yes,
    ask,
    daemon_facts,
    open_store,
    settings_of,
    writable_store,
)
from reconciler.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm

PATIENCE = 120.0  # seconds


def key(
    service: Service,
    name: Annotated[str, typer.Option(help="Which of the service's keys.", metavar="NAME")] = "",
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Replace the key; clients with the old one then get 401."),
    ] = False,
    yes: Yes = False,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Print an API key of a service, and nothing else. A gateway's keys have the name of its
    container app.
    """
    if rotate:
        _rotate(service, name, yes, target, state_dir)
        return
    print(asyncio.run(_read(service, name, target, state_dir)))


def _rotate(service: str, name: str, yes: bool, target: Target, state_dir: StateDir) -> None:
    """Order another key from the daemon, and print it once Azure has it."""
    from reconciler.sources.orders import order_rotation

    keys = asyncio.run(_all(service, target, state_dir))
    chosen = key_name(keys, service, name)
    old = keys[chosen]
    if not yes:
        ask(
            f"Replace the API key {chosen} of {service}? Clients with the old key get 401.",
            f"This would replace the API key {chosen} of {service}.",
        )
    readable, _, folder = open_store(target, state_dir)
    if readable is None:
        raise CommandError("No documents have been run from here; the daemon replaces keys.")
    target_key = readable.target
    readable.close()
    with writable_store(folder, target_key) as store:
        refused = hashlib.sha256(old.encode()).hexdigest()
        order_rotation(store, service, chosen, refused, time.time())
    if not daemon_facts(folder)["running"]:
        print("ordered; no daemon runs now, the next one replaces the key", file=sys.stderr)
        return
    deadline = time.monotonic() + PATIENCE
    while (new := asyncio.run(_read(service, chosen, target, state_dir))) == old:
        if time.monotonic() > deadline:
            raise CommandError(
                f"The daemon has not replaced the key within {PATIENCE:.0f} s; `moorage status`"
                " says what it waits for. The order stands.",
                Exit.TIMED_OUT,
            )
        time.sleep(1.0)
    print(new)


async def _all(service: str, target: Target, state_dir: StateDir) -> dict[str, str]:
    """The API keys of a service by name."""
    from reconciler.arm.clients import Arm
    from reconciler.cli.apps import find_app

    async with Arm(settings_of(target, state_dir)) as arm:
        group, app = await find_app(arm, service)
        keys = await keys_of(arm, group, str(app["name"]))
    if not keys:
        raise CommandError(f"Service {service} has no API keys: it runs its own code.")
    return keys


async def _read(service: str, name: str, target: Target, state_dir: StateDir) -> str:
    from reconciler.arm.clients import Arm

    async with Arm(settings_of(target, state_dir)) as arm:
        return await read_key(arm, service, name)


async def read_key(arm: Arm, service: str, name: str) -> str:
    """The key called `name`; the default one, or the only one, if that is empty."""
    from reconciler.cli.apps import find_app

    group, app = await find_app(arm, service)
    keys = await keys_of(arm, group, str(app["name"]))
    if not keys:
        raise CommandError(f"Service {service} has no API keys: it runs its own code.")
    return chosen_key(keys, service, name)


async def keys_of(arm: Arm, group: str, app: str) -> dict[str, str]:
    """The API keys of a container app by name, read from Azure."""
    from reconciler.arm.apps import list_secrets
    from reconciler.kinds.api_keys import PREFIX
    from serving.catalogue import GATEWAY_KEY

    values = await list_secrets(arm, group, app)
    return {
        each.removeprefix(PREFIX): value
        for each, value in values.items()
        if each.startswith(PREFIX) and each != PREFIX + GATEWAY_KEY
    }


def chosen_key(keys: Mapping[str, str], service: str, name: str) -> str:
    """The key called `name`; the default one, or the first, if that is empty."""
    return keys[key_name(keys, service, name)]


def key_name(keys: Mapping[str, str], service: str, name: str) -> str:
    """The name of the key that is meant by `name`, which may be empty."""
    chosen = name or ("default" if "default" in keys else next(iter(keys)))
    if chosen not in keys:
        raise CommandError(
            f"Service {service} has no API key {chosen!r}; it has {', '.join(sorted(keys))}."
        )
    return chosen
