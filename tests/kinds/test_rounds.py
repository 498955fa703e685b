"""Who is read from a share and when: a constant number of looks, the oldest first. Time is a
number.
"""

from __future__ import annotations

from collections import Counter

import pytest

from reconciler.api.resources import ShareRef
from reconciler.kinds.share.rounds import AT_ONCE, FORGOTTEN, Rounds

RESYNC = 60.0
SHARE = ShareRef("dev", "rg", "acct", "phi")


class Places:
    """Places on a share that ask in each resync, always in the same order."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.rounds = Rounds(lambda: self.now, RESYNC)
        self.names = [(SHARE, f"code/{number:04}") for number in range(count)]
        self.looked: Counter[tuple[ShareRef, str]] = Counter()
        for name in self.names:
            assert self.rounds.due(name)
            self.rounds.looked(name)

    def resync(self) -> int:
        """How many were looked at."""
        self.now += RESYNC
        due = []
        for name in self.names:
            if self.rounds.due(name):
                self.rounds.looked(name)
                due.append(name)
        self.looked.update(due)
        return len(due)


@pytest.mark.parametrize("count", [1, 10, AT_ONCE, 50, 1000])
def test_looks_do_not_grow_with_what_rests(count):
    """Each resync looks at the same number of them, and none waits longer than a round of all."""
    places = Places(count)
    for _ in range(3):
        places.looked.clear()
        for _ in range(-(-count // AT_ONCE)):
            assert places.resync() == min(count, AT_ONCE)
        assert len(places.looked) == count


def test_what_is_forgotten_or_hurried_is_due_at_once():
    """A folder that was deleted, or one of a share that was made anew, is looked at when it asks
    next; so is everything when a person asks.
    """
    places = Places(200)
    places.resync()
    behind = places.names[150]
    assert not places.rounds.due(behind)
    places.rounds.forget_below("code/0150")
    assert places.rounds.due(behind)
    assert not places.rounds.due(places.names[151])
    places.rounds.hurry()
    assert places.resync() == 200
    places.rounds.forget_below("")
    assert places.resync() == 200


def test_what_no_longer_asks_takes_nobodys_turn():
    """After new versions of all folders, the old ones are forgotten and the new ones take turns."""
    places = Places(100)
    places.names = [(SHARE, f"new/{number:04}") for number in range(100)]
    assert places.resync() == 100
    for _ in range(FORGOTTEN + 6):
        places.resync()
    assert min(places.looked[name] for name in places.names) >= 2
