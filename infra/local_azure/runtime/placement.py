"""Which waiting replicas may be placed: each takes one of every quota that it claims, and holds it
until it has ended.

Pure; called by `scheduler`. Azure looks at GPU quota here and nowhere earlier: an app whose
replicas find none is created all the same, and its system log ends with AssigningReplica.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeVar


class Claimant(Protocol):
    """A replica that is placed or waits to be."""

    @property
    def claims(self) -> tuple[str, ...]: ...
    @property
    def placed(self) -> bool: ...


_C = TypeVar("_C", bound=Claimant)


def used(replicas: Iterable[Claimant]) -> Counter[str]:
    """How much of each quota the placed replicas hold."""
    return Counter(claim for replica in replicas if replica.placed for claim in replica.claims)


def place(replicas: Iterable[_C], quotas: Mapping[str, int]) -> Iterator[_C]:
    """The waiting replicas that fit now, first come, first served. A claim on a quota that is not
    set has no limit.
    """
    every = list(replicas)
    taken = used(every)
    for replica in every:
        if not replica.placed and all(
            taken[claim] < quotas.get(claim, taken[claim] + 1) for claim in replica.claims
        ):
            taken.update(replica.claims)
            yield replica
