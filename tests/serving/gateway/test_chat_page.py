"""The chat page's own client at a gateway, with the key of one service."""

from reconciler.chat.endpoint import Endpoint
from tests.serving.gateway.conftest import SERVICE_KEY
from tests.serving.gateway.stand_in import StandIn


async def test_the_page_reaches_one_service_and_wakes_it(gateways):
    """It lists the models of its service alone, which wakes nobody; waking it starts a replica, and
    an answer streams.
    """
    phi, other = StandIn(awake=False, starts_in=0.2), StandIn(awake=False)
    gateway = await gateways(phi=phi, other=other)
    endpoint = Endpoint(gateway.session, gateway.url, SERVICE_KEY, gateway=True)
    assert [each.name for each in await endpoint.models()] == ["phi", "support"]
    assert not phi.awake.is_set()
    await endpoint.wake()
    assert phi.awake.is_set()
    assert not other.awake.is_set()
    question = [{"role": "user", "content": "?"}]
    *_, last = [each async for each in endpoint.stream("support", question)]
    assert last.done
    assert last.text.split() == list(phi.words)
