"""`moorage key`: an API key of a service or a gateway, read from Azure and printed alone, so that
`$(moorage key phi)` works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.context import Service, StateDir, Target, settings_of
from reconciler.cli.exits import CommandError

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm


def key(
    service: Service,
    name: Annotated[str, typer.Option(help="Which of the service's keys.", metavar="NAME")] = "",
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Print an API key of a service, and nothing else. A gateway's keys have the name of its
    container app.
    """
    print(asyncio.run(_read(service, name, target, state_dir)))


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
    chosen = name or ("default" if "default" in keys else next(iter(keys)))
    if chosen not in keys:
        raise CommandError(
            f"Service {service} has no API key {chosen!r}; it has {', '.join(sorted(keys))}."
        )
    return keys[chosen]
