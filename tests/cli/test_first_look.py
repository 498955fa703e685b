"""How long `moorage up` waits for its first look at Azure, and for what. Time is faked."""

import pytest

from reconciler.api.problems import ManifestError
from reconciler.api.reasons import Reason
from reconciler.cli import first_look as module
from reconciler.cli.first_look import MOST_PAUSE, MOST_UNCONNECTED, first_look
from reconciler.engine.errors import (
    NotConnected,
    RetryableError,
    TerminalError,
    Throttled,
    TransportFailed,
    WaitingForHuman,
)

AWAY = TransportFailed(Reason.AZURE_UNREACHABLE, "no answer")
NOWHERE = NotConnected(Reason.AZURE_UNREACHABLE, "no such host")
BUSY = RetryableError(Reason.INTERNAL_ERROR, "503")
ROLE = WaitingForHuman(Reason.AWAITING_APPROVAL, "a role is missing")
BAD = ManifestError([])


@pytest.fixture
def paused(monkeypatch):
    """The pauses that were made, in seconds; none of them takes any time."""
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    return pauses


def looking(*errors):
    """A look that fails so often, and the sentences that were said."""
    left, said = list(errors), []

    async def load():
        if left:
            raise left.pop(0)

    return load, said


async def test_an_outage_of_an_hour_is_waited_for_and_said_once(paused):
    """Pauses grow to half a minute and go on; a reason that stays is one line."""
    load, said = looking(*[AWAY] * 125)
    await first_look(load, said.append, once=True)
    assert said == ["AzureUnreachable: no answer"]
    assert paused[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(paused) == MOST_PAUSE
    assert sum(paused) > 3500


async def test_a_wrong_address_ends_a_command_that_runs_once(paused):
    """After two minutes without any connection; a daemon goes on, and so does a command that Azure
    has answered before.
    """
    load, said = looking(*[NOWHERE] * 50)
    with pytest.raises(NotConnected):
        await first_look(load, said.append, once=True)
    assert MOST_UNCONNECTED <= sum(paused) < MOST_UNCONNECTED + MOST_PAUSE
    for before, once in (([], False), ([AWAY], True)):
        load, said = looking(*before, *[NOWHERE] * 50)
        await first_look(load, said.append, once=once)


async def test_each_new_reason_is_said_and_a_word_of_azure_is_kept(paused):
    """Retry-After stands for the pause, up to the longest one."""
    slow = Throttled(Reason.THROTTLED, "slow down", retry_after=3.0)
    long = Throttled(Reason.THROTTLED, "slow down", retry_after=3000.0)
    load, said = looking(AWAY, slow, long, BUSY)
    await first_look(load, said.append, once=False)
    assert len(said) == 3
    assert paused[1:3] == [3.0, MOST_PAUSE]


async def test_a_person_is_waited_for_unless_the_command_runs_once(paused):
    """With --once the command ends at once, as it does for what waiting cannot cure."""
    load, said = looking(ROLE, ROLE)
    await first_look(load, said.append, once=False)
    assert len(said) == 1
    for error, once in ((ROLE, True), (TerminalError(Reason.IMMUTABLE_FIELD, "no"), False)):
        load, said = looking(error)
        with pytest.raises(type(error)):
            await first_look(load, said.append, once=once)
        assert said == []


async def test_a_bad_save_ends_a_start_and_no_wait(paused):
    """Bad documents at the start are exit code 2; while Azure is waited for they are waited for."""
    load, said = looking(BAD)
    with pytest.raises(ManifestError):
        await first_look(load, said.append, once=False)
    load, said = looking(AWAY, BAD)
    await first_look(load, said.append, once=False)
    assert len(said) == 2
