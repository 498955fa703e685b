"""`moorage key`: an API key of a service or a gateway, read from Azure and printed alone, so that
`$(moorage key phi)` works.
"""

from __future__ import annotations

import asyncio
import hashlib
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
    settings_of,
    writable_store,
)
from reconciler.cli.exits import CommandError, Exit
from reconciler.cli.output.envelope import Output, check_output, print_value
from reconciler.cli.output.layout import say
from reconciler.cli.output.subject import subject_of
from reconciler.cli.pause import pause_note

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm
    from reconciler.settings import Settings

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
    output: Output = "text",
) -> None:
    """Print an API key of a service, and nothing else. A gateway's keys have the name of its
    container app.
    """
    as_json = check_output(output)
    settings = settings_of(target, state_dir)
    subject = subject_of(settings)
    if not as_json:
        subject.show(aside=True)
    if rotate:
        if as_json and not yes:
            raise CommandError("This would replace the API key. Use -y to do it.", Exit.HUMAN)
        chosen, value = _rotated(service, name, yes, settings)
    else:
        keys = asyncio.run(_all(service, settings))
        chosen = key_name(keys, service, name)
        value = keys[chosen]
    if as_json:
        print_value("Key", {"service": service, "name": chosen, "key": value}, subject)
    elif value:
        print(value)


def _rotated(service: str, name: str, yes: bool, settings: Settings) -> tuple[str, str | None]:
    """Order another key from the daemon: its name, and its value once Azure has it; None where
    no daemon runs, or the document is paused.
    """
    from reconciler.engine.external import DocumentRef
    from reconciler.engine.store import Store
    from reconciler.sources.decisions import caller
    from reconciler.sources.orders import order_rotation

    keys = asyncio.run(_all(service, settings))
    chosen = key_name(keys, service, name)
    old = keys[chosen]
    if not yes:
        ask(
            f"Replace the API key {chosen} of {service}? Clients with the old key get 401.",
            f"This would replace the API key {chosen} of {service}.",
        )
    folder = settings.daemon_dir
    readable = Store.read(folder / "state.db", settings.target_key)
    if readable is None:
        raise CommandError("No documents have been run from here; the daemon replaces keys.")
    target_key = readable.target
    readable.close()
    with writable_store(folder, target_key) as store:
        refused = hashlib.sha256(old.encode()).hexdigest()
        order_rotation(store, service, chosen, refused, time.time(), caller())
        paused = pause_note(store, DocumentRef("InferenceService", service))
    if paused:
        say(f"ordered; {paused}", aside=True)
        return chosen, None
    if not daemon_facts(folder)["running"]:
        say("ordered; no daemon runs now, the next one replaces the key", aside=True)
        return chosen, None
    deadline = time.monotonic() + PATIENCE
    while (new := asyncio.run(_all(service, settings))[chosen]) == old:
        if time.monotonic() > deadline:
            raise CommandError(
                f"The daemon has not replaced the key within {PATIENCE:.0f} s; `moorage status`"
                " says what it waits for. The order stands.",
                Exit.TIMED_OUT,
            )
        time.sleep(1.0)
    return chosen, new


async def _all(service: str, settings: Settings) -> dict[str, str]:
    """The API keys of a service by name."""
    from reconciler.arm.clients import Arm
    from reconciler.cli.apps import find_app

    async with Arm(settings) as arm:
        group, app = await find_app(arm, service)
        keys = await keys_of(arm, group, str(app["name"]))
    if not keys:
        raise CommandError(f"Service {service} has no API keys: it runs its own code.")
    return keys


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
    from reconciler.kinds.service.api_keys import PREFIX
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
