"""When `inventory` lists a type for the whole subscription instead of once for each resource group:
if several groups are asked for, and one wide list takes fewer reads than theirs.
"""

from __future__ import annotations

from collections.abc import Callable

from reconciler.api.kinds import Listing

SEVERAL = 3  # groups from which on a list of the subscription is cheaper
LATELY = 300.0  # seconds for which a group counts after it was last asked for
NARROW = 600.0  # seconds without wide lists of a type after one has failed
PAGE = 100  # items of a list that come in one read


class Breadth:
    """Knows which groups were asked for, by type, and which wide lists Azure refuses: a role at the
    scope of a resource group may not allow them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[Listing, dict[str, float]] = {}
        self._refused: dict[Listing, float] = {}

    def is_wide(self, listing: Listing, group: str, size: int) -> bool:
        """Whether to list the subscription for a look in `group`; `size` is how many items the last
        wide list had.
        """
        now = self._clock()
        groups = self._asked.setdefault(listing, {})
        groups[group] = now
        for old in [each for each, at in groups.items() if now - at > LATELY]:
            del groups[old]
        if now - self._refused.get(listing, now - 2 * NARROW) <= NARROW:
            return False
        return len(groups) >= SEVERAL and size <= PAGE * (len(groups) - 1)

    def refuse(self, listing: Listing) -> None:
        """A wide list has failed."""
        self._refused[listing] = self._clock()
