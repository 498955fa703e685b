"""What a service costs as it runs now: the replicas that exist, since when, and those that are
billed and do not serve. Pure; the price of a replica comes from the daemon's table.
"""

from __future__ import annotations

from typing import NamedTuple

from reconciler.api.outputs import AppOutputs


class ReplicaPrice(NamedTuple):
    """What an hour of one replica costs."""

    currency: str
    amount: float


class Spending(NamedTuple):
    """`replicas` are billed since `since` (the oldest one's creation), `idle` of them serve nobody.
    `price` is None where no table knows it.
    """

    replicas: int
    idle: int
    since: str | None
    price: ReplicaPrice | None

    @property
    def hourly(self) -> str:
        """The price of an hour, empty where nobody knows it."""
        return self._text(self.replicas)

    @property
    def wasted(self) -> str:
        """The price of an hour of what does not serve."""
        return self._text(self.idle)

    def _text(self, replicas: int) -> str:
        if self.price is None:
            return ""
        return f"{replicas * self.price.amount:.2f} {self.price.currency} an hour"


def spending_of(app: AppOutputs, price: ReplicaPrice | None) -> Spending:
    """Of the replicas that Azure lists."""
    idle = sum(not replica.ready for replica in app.replicas)
    created = [each.created_time for each in app.arm.replicas if each.created_time]
    return Spending(len(app.replicas), idle, min(created, default=None), price)


def total(all_of_it: list[Spending]) -> str:
    """The price of an hour of all services together, each currency by itself; `at least` where no
    table knows the price of some.
    """
    sums: dict[str, float] = {}
    known = True
    for each in all_of_it:
        if each.price is None:
            known = False
        else:
            amount = each.replicas * each.price.amount
            sums[each.price.currency] = sums.get(each.price.currency, 0.0) + amount
    texts = [f"{amount:.2f} {currency}" for currency, amount in sorted(sums.items())]
    if known:
        return " + ".join(texts) or "nothing"
    return f"at least {' + '.join(texts)}" if texts else "not known"
