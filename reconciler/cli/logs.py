"""`moorage logs`: a service's console output through the Container Apps log stream, the same on
both targets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.context import Service, StateDir, Target, settings_of
from reconciler.cli.exits import CommandError

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm


def logs(
    service: Service,
    follow: Annotated[bool, typer.Option("--follow", help="Stay and print what comes.")] = False,
    tail: Annotated[
        int, typer.Option(help="How many old lines, 0 to 300.", min=0, max=300, metavar="N")
    ] = 100,
    system: Annotated[
        bool, typer.Option("--system", help="The platform's events instead of the console.")
    ] = False,
    target: Target = None,
    state_dir: StateDir = None,
) -> None:
    """Print the log of every replica of a service."""
    asyncio.run(_print(service, follow, tail, system, target, state_dir))


async def _print(
    service: str, follow: bool, tail: int, system: bool, target: Target, state_dir: StateDir
) -> None:
    from reconciler.arm.clients import Arm
    from reconciler.arm.logs import event_endpoint, log_token
    from reconciler.cli.apps import find_app

    async with Arm(settings_of(target, state_dir)) as arm:
        group, app = await find_app(arm, service)
        name = str(app["name"])
        if system:
            streams = [
                (
                    "",
                    event_endpoint(
                        arm, group, name, str(app["properties"].get("eventStreamEndpoint"))
                    ),
                )
            ]
        else:
            streams = await _containers(arm, group, name)
        if not streams:
            raise CommandError(
                f"No replica of {service} runs now, so there is no console; --system shows why."
            )
        token = await log_token(arm, group, name)
        prefixes = len(streams) > 1
        await asyncio.gather(
            *(
                _one(arm, label if prefixes else "", url, token, follow, tail)
                for label, url in streams
            )
        )


async def _one(arm: Arm, label: str, url: str, token: str, follow: bool, tail: int) -> None:
    from reconciler.arm.logs import stream_logs

    async for line in stream_logs(arm, url, token, follow=follow, tail=tail):
        print(f"{label}: {line}" if label else line, flush=True)


async def _containers(arm: Arm, group: str, name: str) -> list[tuple[str, str]]:
    from reconciler.arm.apps import list_replicas, list_revisions

    found: list[tuple[str, str]] = []
    for revision in await list_revisions(arm, group, name):
        if (revision.get("properties") or {}).get("active"):
            for replica in await list_replicas(arm, group, name, str(revision["name"])):
                containers: list[dict[str, Any]] = (replica.get("properties") or {}).get(
                    "containers"
                ) or []
                found += [
                    (str(replica["name"]), str(c["logStreamEndpoint"]))
                    for c in containers
                    if c.get("logStreamEndpoint")
                ]
    return found
