"""The other half of Complete mode: what the group holds and the template does not is deleted."""

import asyncio

from infra.local_azure.arm.front import Front
from infra.local_azure.control.records import Body, Records
from infra.local_azure.store import Record

_ROUNDS = 200


def extra(records: Records, group: str, kept: set[str]) -> list[Record]:
    """The tracked resources of a group that are not among `kept` (keys), youngest first."""
    found = [record for record in records.tracked(group) if record.key not in kept]
    return found[::-1]


async def prune(
    records: Records, front: Front, deployment: Record, kept: set[str], principal: str, pause: float
) -> list[Body]:
    """Delete them, those that others still use last. Returns the errors of failed deletions."""
    group = deployment.id.split("/providers/")[0]
    refused: dict[str, Body] = {}
    for _ in range(_ROUNDS):
        left = extra(records, group, kept)
        if not left:
            return []
        moved = False
        for record in left:
            reply = await front.send(
                "DELETE", record.id, _VERSION[record.kind.split("/")[0]], None, principal
            )
            if reply.status < 400:
                refused.pop(record.key, None)
                moved = True
            else:
                refused[record.key] = {"target": record.id, **(reply.body or {}).get("error", {})}
        await asyncio.sleep(pause)
        if not moved:
            break
    return [refused[record.key] for record in extra(records, group, kept) if record.key in refused]


_VERSION = {
    "microsoft.app": "2025-07-01",
    "microsoft.operationalinsights": "2025-07-01",
    "microsoft.storage": "2024-01-01",
}
