"""What a command that runs once asks of a daemon: to read all its documents, to plan, to delete
everything. A daemon that keeps watching needs none of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from reconciler.api.reasons import Reason
from reconciler.composition import Composition
from reconciler.daemon import Daemon
from reconciler.engine.external import ObjectKey
from reconciler.engine.plan import PlanLine

SOURCES_WAIT = 30.0  # seconds that a command waits for sources that are on their way
ARRIVING = (Reason.FETCHING, Reason.SOURCE_CHANGED)  # what somebody must bring first is not


async def load_all(daemon: Daemon) -> Composition:
    """`Daemon.load`, which then waits for sources that are being fetched, to a limit."""
    composition = await daemon.load()
    with suppress(TimeoutError):
        async with asyncio.timeout(SOURCES_WAIT):
            while any(each.reason in ARRIVING for each in composition.refusals.values()):
                await daemon.remote.arrived.wait()
                daemon.remote.arrived.clear()
                composition = await daemon.load()
    return composition


async def plan(daemon: Daemon) -> tuple[PlanLine, ...]:
    """What a run would do, with the same code that does it, and the documents and adapters that it
    would leave alone.
    """
    composition = await load_all(daemon)
    refused = [
        PlanLine(
            ObjectKey(*ref),
            ref,
            "wait" if refusal.waits else "refuse",
            problem=f"{refusal.reason}: {refusal.message}",
        )
        for ref, refusal in composition.refusals.items()
    ]
    for ref, why in daemon.intake.unfit().items():
        problem = f"{Reason.ADAPTER_FAILED}: {why}"
        refused.append(PlanLine(ObjectKey(*ref), ref, "refuse", problem=problem))
    return (*await daemon.controller.plan(), *refused)


async def abandon(daemon: Daemon, *, data: bool) -> None:
    """Delete all that belongs to the set, as the state file and Azure's tags say; with `data` also
    what holds data.
    """
    orphans = await daemon.intake.look_for_owned(data=data)
    daemon.controller.set_desired([], [], purge=data)
    daemon.controller.set_orphans(orphans)
