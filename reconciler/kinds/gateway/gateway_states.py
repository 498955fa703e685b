"""What the replicas of a gateway report about the services behind it. Each writes `state.json`
every few seconds. It is read within bounds and checked against its schema; one that cannot be read
is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pydantic import ValidationError

from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.kinds.share.reports import AGREEING, STALE
from reconciler.kinds.share.shares import Shares
from serving.gateway.routes import GatewayState, RoutedState, in_time_of_reader
from serving.untrusted import UntrustedError, parse

LONGEST = 2 << 20  # bytes of one state; a thousand services are a tenth of that
MOST = 30  # replicas whose states are read
_AWAKE = ("asleep", "failed", "starting", "ready")


class GatewayStates:
    def __init__(self, shares: Shares) -> None:
        self.shares = shares

    async def read(
        self, share: ShareRef, folder: str, replicas: Sequence[str]
    ) -> tuple[GatewayState, ...]:
        """What the gateway's replicas of these names say now."""
        opened, now = self.shares.open(share), self.shares.now()
        found: list[GatewayState | None] = []
        for replica in replicas[:MOST]:
            path = f"{folder}/usage/{replica}/state.json"
            data, written = await files.read_with_time(opened, path, LONGEST) or (b"", now)
            found.append(state_of(data, replica, written, now))
        return tuple(filter(None, found))


def state_of(data: bytes, replica: str, written: datetime, now: datetime) -> GatewayState | None:
    """The state in `data`; None where it cannot be read, is another replica's or is stale. Both
    times are the share's, because the replica's own clock may be wrong.
    """
    try:
        state = GatewayState.model_validate(parse(data, LONGEST))
    except (UntrustedError, ValidationError):
        return None
    if state.replica != replica or now - written >= STALE:
        return None
    ahead = state.heartbeat - written
    return state if abs(ahead) < AGREEING else in_time_of_reader(state, ahead)


def merged(states: Iterable[GatewayState]) -> tuple[RoutedState, ...]:
    """One line for each service, by name: the most awake state that any replica sees, and the sum
    of the requests that all of them hold.
    """
    best: dict[str, RoutedState] = {}
    held: dict[str, int] = {}
    for state in (service for each in states for service in each.services):
        held[state.name] = held.get(state.name, 0) + state.held
        known = best.get(state.name)
        if known is None or _AWAKE.index(state.state) > _AWAKE.index(known.state):
            best[state.name] = state
    return tuple(best[name].model_copy(update={"held": held[name]}) for name in sorted(best))
