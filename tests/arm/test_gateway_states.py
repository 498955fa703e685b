"""What a gateway's replicas say of themselves, read from a real share and judged by its time."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from reconciler.api.resources import ShareRef
from reconciler.arm import files
from reconciler.kinds.gateway.gateway_states import GatewayStates
from serving.gateway.routes import GatewayState, RoutedState

DATA = "gateway/dev/data"
OFF = {"ahead": timedelta(hours=1), "behind": -timedelta(hours=1), "right": timedelta()}


@pytest.mark.parametrize("off", OFF.values(), ids=OFF)
async def test_a_gateway_with_a_wrong_clock_is_alive_as_long_as_it_writes(share, off):
    """Its state counts while the share says that it is young, and no longer; its times are told in
    the share's.
    """
    wrong = datetime.now(UTC) + off
    phi = RoutedState(name="phi", state="starting", started_at=wrong - timedelta(seconds=90))
    state = GatewayState(replica="gw-1", heartbeat=wrong, services=(phi,))
    content = state.model_dump_json(by_alias=True).encode()
    await files.write(share, f"{DATA}/usage/gw-1/state.json", content)
    reader = Reader(share)
    (found,) = await reader.after(0)
    now = datetime.now(UTC)
    assert abs(found.heartbeat - now) < timedelta(seconds=15)
    age = now - found.services[0].started_at
    assert timedelta(seconds=75) < age < timedelta(seconds=105)
    assert len(await reader.after(30)) == 1
    assert await reader.after(60) == ()


class Reader:
    """Looks at the state some seconds from now, in the share's time."""

    def __init__(self, share):
        self.late = timedelta()
        now = share.arm.time.now
        self.states = GatewayStates(
            SimpleNamespace(open=lambda _: share, now=lambda: now() + self.late)
        )
        self.ref = ShareRef("dev", share.group, share.account, share.name)

    async def after(self, seconds):
        self.late = timedelta(seconds=seconds)
        return await self.states.read(self.ref, DATA, ["gw-1"])
