"""A rate limiter (a token bucket with credit) for reads of ARM, for all services together.
Everything that the daemon reads counts: lists and operations too, which `turns` does not decide
about. Pure; the clock and the count of reads are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable

RATE = 5.0  # reads a second in any two minutes: a fifth of what ARM gives back to one principal
EVEN = 0.89  # of it on average, because the reads of an Environment come together
BURST = 330  # saved up for services that move
RESERVE = 30  # reads that settled services leave to those that move
EXTRA = 0.1  # reads a second for the replicas of settled services, where reads are scarce
SAVED = 2.0  # of these
CREDIT = 1650  # reads that services that move may spend ahead, once an hour
PAID_BACK = 0.5  # reads a second: the credit is paid back in 55 minutes
MOVING = 0.2  # reads a second for a service that moves, where nothing else is left
HOUR = 3600.0
TURN = 293.0  # seconds in which every service is looked at; with the wait for its resync 300
MOST = 1000  # services for which this holds whatever else is read
SOON = 60.0  # seconds over which the reads elsewhere are averaged


class Budget:
    """`each` counts the looks that every settled service may have had so far. `left` is what is
    saved for services that move, and `credit` what a start may spend ahead.

    Reads elsewhere come first, and the turns get what they leave: at least one look in `TURN`. So
    all reads together hold the rate as long as those elsewhere leave that much; else they do not.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        read: Callable[[], int] | None = None,
        rate: float = RATE,
        burst: int = BURST,
    ) -> None:
        self.clock, self._read, self.rate, self.burst = clock, read, rate, burst
        self.left, self.credit, self.extra = float(burst), float(CREDIT), 0.0
        self.each = 0.0
        self.pace = 0.0  # by which `each` grows in a second
        self._counted, self._elsewhere = clock(), 0.0  # reads a second
        self._others, self._unpaid, self._spent = self._seen(0), 0.0, 0
        self._owed, self._opened = 0.0, -math.inf

    def refill(self, services: int, moving: int, *, lately: bool = False) -> float:
        """Earn what the time since the last call gives, with so many services, of which so many
        move. The credit is paid back while few move. Where one has begun to move `lately`, those
        that move earn something although nothing is left. Returns the time.
        """
        now = self.clock()
        passed, self._counted = now - self._counted, now
        self._notice(passed)
        turns = self._turns(services, moving)
        self.pace = turns / max(1, services)
        self.each += passed * self.pace
        self.extra = min(SAVED, self.extra + passed * EXTRA)
        earned = passed * max(0.0, EVEN * self.rate - EXTRA - turns)
        paid = min(self._unpaid, earned)
        self._unpaid -= paid
        rested = max(0.0, earned - paid) if 10 * moving <= services else 0.0
        back = min(self._owed, passed * PAID_BACK, rested)
        self._owed -= back
        if not self._owed and now - self._opened >= HOUR:
            self.credit = float(CREDIT)
        least = passed * min(self.rate / 5, moving * MOVING) if lately else 0.0
        gained = max(least, earned - paid - back)
        self.left = max(-self.burst, min(self.burst, self.left + gained))
        return now

    @property
    def spare(self) -> float:
        """Saved reads, without those that are kept for services that move."""
        return max(0.0, self.left - RESERVE)

    def spend_turn(self, reads: int, saved: float) -> None:
        """Pay for a look that was a service's turn. The `saved` part of the reads comes from
        `left`; `turns` counts the others.
        """
        self._spent += reads
        self.left -= saved

    def spend(self, reads: int, *, on_credit: bool) -> None:
        """Pay for another look. On credit, what is beyond `left` (but for the reserve) is lent."""
        self._spent += reads
        if on_credit:
            lent = min(self.credit, max(0.0, reads - self.spare))
            if lent and self.credit == CREDIT:
                self._opened = self._counted
            self.credit -= lent
            self._owed += lent
            self.left += lent
        self.left -= reads

    def _turns(self, services: int, moving: int) -> float:
        """Reads a second for turns: what is left beside those elsewhere, without a fifth while
        services move, and without a tenth until the saved reads are full.
        """
        kept = self.rate / 5 if moving else self.rate / 10 if self.left < self.burst else 0.0
        # A start reads much elsewhere, for which no turn may be late.
        elsewhere = min(self._elsewhere, self.rate / 2)
        return max(min(services, MOST) / TURN, EVEN * self.rate - EXTRA - elsewhere - kept)

    def _notice(self, passed: float) -> None:
        """Count what was read elsewhere. No more than a minute's reads are kept to be paid."""
        before, self._others = self._others, self._seen(self._spent)
        new = self._others - before
        self._unpaid = min(self.rate * 60, self._unpaid + new)
        self._elsewhere = self._elsewhere * math.exp(-passed / SOON) + new / SOON

    def _seen(self, spent: int) -> int:
        """Reads so far that no look was charged for."""
        return self._read() - spent if self._read else 0
