"""When an Environment's lease is asked for. The clock is the test's."""

import asyncio
from types import SimpleNamespace

import pytest

from reconciler.api.manifest import parse
from reconciler.api.reasons import Reason
from reconciler.api.resources import ShareRef
from reconciler.edges.leases import Lease
from reconciler.engine.errors import NotReadyYet
from reconciler.handover import only_observed
from reconciler.leadership import Leadership, Stand

pytestmark = pytest.mark.looptime
SHARE = ShareRef("dev", "rg", "acct", "phi")


class Leader:
    """Counts the questions; the share is there once the test says so."""

    def __init__(self):
        self.asked, self.reason = [], Reason.NOT_OBSERVED

    async def step(self):
        self.asked.append(asyncio.get_running_loop().time())
        return 10.0 if self.reason is None else 5.0

    def why_not(self):
        return None


async def followed(leader, found, seconds, stand=None):
    edge = Lease(stand or Stand("dev", SHARE, leader, found, print))

    async def work():
        while True:
            await edge.wait()
            await edge.act()

    task = asyncio.create_task(work())
    await asyncio.sleep(seconds)
    task.cancel()


async def test_a_share_that_is_not_there_is_hardly_asked_for():
    """Each question lists the storage accounts: 20 Environments asked 20 times a second."""
    leader = Leader()
    leader.reason = Reason.STORAGE_ACCOUNT_NOT_READY
    await followed(leader, asyncio.Event(), 100)
    assert leader.asked == [0, 30, 60, 90]


async def test_the_lease_is_asked_for_as_soon_as_the_loop_sees_the_share():
    """Then each second, because Azure Files may know of it later, and once it is held every ten."""
    leader, found = Leader(), asyncio.Event()
    leader.reason = Reason.STORAGE_ACCOUNT_NOT_READY
    work = asyncio.create_task(followed(leader, found, 20))
    await asyncio.sleep(2)
    found.set()
    await asyncio.sleep(1.5)
    leader.reason = None
    await work
    assert leader.asked == [0, 2, 3, 4, 14]


async def test_a_lease_that_was_just_taken_is_renewed_when_it_is_time():
    """A daemon that begins takes its leases before their edges do; one refused is asked for at
    once again.
    """
    for reason, asked in ((None, [0, 10, 20]), (Reason.NOT_OBSERVED, [0, 0, 5, 10, 15, 20])):
        leader = Leader()
        leader.reason = reason
        began = asyncio.get_running_loop().time()
        stand = Stand("dev", SHARE, leader, asyncio.Event(), print)
        leader.why_not = lambda reason=reason: reason and NotReadyYet(reason, "no")
        await stand.step()
        await followed(leader, asyncio.Event(), 22, stand)
        assert [round(at - began) for at in leader.asked] == asked


async def test_no_lease_is_held_where_documents_only_observe(tmp_path):
    """The lease is a write, and would keep the managing daemon out. The first question whether
    something may be written asks for it; a document that manages brings it back.
    """
    share = SimpleNamespace(found=asyncio.Event(), name="phi", account="acct")
    shares = SimpleNamespace(open=lambda _: share)
    leadership = Leadership(shares, tmp_path, print)
    home = SimpleNamespace(environment="dev", resource_group="rg", account="acct", share="phi")
    names = SimpleNamespace(names={"dev": home, "prod": home})
    leadership.follow(names, observed={"dev"})
    assert [stand.environment for stand in leadership.stands] == ["prod"]
    leadership.follow(names)
    assert {stand.environment for stand in leadership.stands} == {"dev", "prod"}
    dev = next(stand for stand in leadership.stands if stand.environment == "dev")
    leadership.follow(names, observed={"dev"})
    assert dev.over
    assert [stand.environment for stand in leadership.stands] == ["prod"]
    leadership.changed.clear()
    leadership.why_not("dev")
    assert leadership.changed.is_set()
    assert {stand.environment for stand in leadership.stands} == {"dev", "prod"}


@pytest.mark.parametrize(
    ("policies", "observed", "reason"),
    [
        (("Observe", "Observe", "Skip"), {"dev"}, "nothing is written"),
        (("Manage", "Observe", "Observe"), set(), "the Environment is written"),
        (("Observe", "Observe", "Manage"), set(), "one of its services is written"),
        (("Skip", "Observe", "Observe"), {"dev"}, "nothing is read of the Environment either"),
    ],
)
def test_an_environment_is_observed_with_all_that_is_in_it(tmp_path, policies, observed, reason):
    """By its own policy and that of each of its services."""
    own, *services = policies
    parts = [f"kind: Environment\nmetadata: {{name: dev}}\nspec: {{reconcilePolicy: {own}}}"]
    parts += [
        f"kind: InferenceService\nmetadata: {{name: s{number}}}\n"
        f"spec: {{environment: dev, model: {{source: 'share://m'}}, reconcilePolicy: {policy}}}"
        for number, policy in enumerate(services)
    ]
    documents = parse(tmp_path / "m.yaml", "\n---\n".join(parts).encode())
    assert only_observed(documents) == observed, reason
