"""What others do to the lease of a real share: they break it, take it for ever, spoil the file that
says who holds it, or are cut off from it. Never do two daemons believe that they lead.
"""

import pytest

from reconciler.arm import files
from reconciler.arm.lease import DURATION, Leader
from reconciler.engine.errors import WaitingForHuman

FIRST, SECOND = (f"{digit * 8}-2222-3333-4444-555555555555" for digit in "12")
STRANGER = "99999999-2222-3333-4444-555555555555"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leaders(share, clock):
    """Two daemons that want one share's lease."""
    return Leader(share, FIRST, clock), Leader(share, SECOND, clock)


async def break_lease(share, period=None):
    """As a person does in a tool of Azure, who needs no id."""

    async def act(client):
        from azure.storage.fileshare.aio import ShareLeaseClient

        await ShareLeaseClient(client, FIRST).break_lease(lease_break_period=period)

    await share.call(act)


async def test_a_lease_broken_by_hand_goes_to_whoever_asks_next(share, leaders):
    """The one that led learns it with its next renewal, and who leads now."""
    first, second = leaders
    await first.step()
    await second.step()
    assert (first.may_write(), second.may_write()) == (True, False)
    await break_lease(share, 0)
    await second.step()
    assert second.may_write()
    await first.step()
    assert not first.may_write()
    assert first.why_not().reason == "NotLeader"


async def test_a_lease_broken_by_hand_stays_with_its_holder_where_that_asks_first(share, leaders):
    """Nothing changes for anybody."""
    first, second = leaders
    await first.step()
    await break_lease(share, 0)
    await first.step()
    await second.step()
    assert (first.may_write(), second.may_write()) == (True, False)


async def test_a_lease_that_is_being_broken_is_not_renewed(share, leaders, clock):
    """While Azure lets it run out, its holder goes on to write for as long as it was sure of it,
    and nobody else may; then the holder says why it does not.
    """
    first, second = leaders
    await first.step()
    await break_lease(share, 20)
    clock.now += 10
    await first.step()
    await second.step()
    assert (first.may_write(), second.may_write()) == (True, False)
    clock.now += DURATION
    assert not first.may_write()
    assert first.why_not().reason == "Azure:LeaseIsBreakingAndCannotBeAcquired"
    assert "another daemon" not in first.why_not().message


async def test_a_lease_without_an_end_is_told_as_none_of_a_daemon(share, leaders):
    """A backup or a person took it: waiting would be in vain, and the message says what to do. When
    it is broken, the daemon leads.
    """
    first, _ = leaders

    async def take(client):
        await client.acquire_lease(lease_duration=-1, lease_id=STRANGER)

    await share.call(take)
    await first.step()
    await first.step()
    told = first.why_not()
    assert isinstance(told, WaitingForHuman)
    assert told.reason == "Azure:LeaseAlreadyPresent"
    assert "no daemon holds the lease on share" in told.message
    assert "has no end" in told.message
    assert "break" in told.message
    await break_lease(share, 0)
    await first.step()
    assert first.why_not() is None


async def test_a_lease_that_another_daemon_takes_after_that_is_told_as_its_own(share, leaders):
    """What was said of the one before is not said of the next."""
    first, second = leaders

    async def take(client):
        await client.acquire_lease(lease_duration=-1, lease_id=STRANGER)

    await share.call(take)
    await first.step()
    await break_lease(share, 0)
    await second.step()
    await first.step()
    assert first.why_not().reason == "NotLeader"
    assert "has no end" not in first.why_not().message


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[" * 900, b"x" * 100_000])
async def test_a_spoiled_file_of_the_holder_changes_nothing_about_who_leads(
    share, leaders, clock, content
):
    """It is for people only, and the holder writes it anew."""
    first, second = leaders
    await files.write(share, "leader.json", content)
    await first.step()
    await second.step()
    assert (first.may_write(), second.may_write()) == (True, False)
    clock.now += 10
    await first.step()
    await second.step()
    assert second.why_not().message.startswith("the daemon on host ")


async def test_a_folder_in_place_of_the_file_of_the_holder_keeps_nobody_from_leading(
    share, leaders, clock
):
    """It cannot be written then, which costs people the name and nothing else."""
    first, second = leaders
    await files.make_parents(share, ["leader.json/x"])
    for _ in range(3):
        await first.step()
        await second.step()
        clock.now += 10
    assert (first.may_write(), second.may_write()) == (True, False)
    assert "another daemon holds the lease" in second.why_not().message


async def test_a_share_that_is_away_for_one_daemon_goes_to_the_other(
    live, share, clock, monkeypatch
):
    """The one that is cut off stops before the lease ends and says that it does not reach the
    share; when it is back it says who leads, and writes nothing.
    """
    from reconciler.arm.share import Share

    cut_off = Share(live, share.group, share.account, share.name)
    first, second = Leader(cut_off, FIRST, clock), Leader(share, SECOND, clock)
    await first.step()
    client = cut_off._client
    monkeypatch.setattr(cut_off, "_client", cut_off._connect("https://127.0.0.1:1/x", "a2V5"))
    clock.now += 10
    await first.step()
    assert first.may_write(), "one failed renewal is no lost lease"
    clock.now += 10.1
    await first.step()
    assert first.why_not().reason == "AzureUnreachable"
    await second.step()
    assert not second.may_write(), "Azure still holds it for the one that is away"
    await break_lease(share, 0)  # stands for the end of the thirty seconds
    await second.step()
    assert (first.may_write(), second.may_write()) == (False, True)
    monkeypatch.setattr(cut_off, "_client", client)
    await first.step()
    assert first.why_not().reason == "NotLeader"
