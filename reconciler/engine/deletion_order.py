"""The order of deletions. Pure.

An object goes before the objects it uses. If one document uses objects of another, all that goes of
the first goes before anything of the second, so a gateway outlives the services behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.engine.external import Desired, Gone, ObjectKey, Policy
from reconciler.engine.ledger import Ledger


def goes_after(ledger: Ledger, key: ObjectKey) -> frozenset[ObjectKey]:
    """The objects that must be deleted before the gone object `key`."""
    gone, before = ledger.gone.get(key), set(ledger.dependents(key))
    if gone is not None:
        mine = ledger.objects(gone.document)
        users = {user for each in mine for user in ledger.dependents(each)} - set(mine)
        before |= {user for user in users if _goes_first(ledger, user, mine)}
    return frozenset(before)


def freed_by(ledger: Ledger, item: Desired | Gone) -> set[ObjectKey]:
    """The gone objects that may be deleted, or decided again, now that `item` is deleted."""
    found = {*item.refs, *ledger.objects(item.document)}
    for ref in item.refs:
        # References come from the record of `item`: an object that was left in place is no longer
        # among the gone ones, but other objects of its document may still wait for `item`.
        if record := ledger.records.get(ref):
            found.update(ledger.objects(record.document))
    return {key for key in found if key in ledger.gone}


def _goes_first(ledger: Ledger, user: ObjectKey, mine: Sequence[ObjectKey]) -> bool:
    gone = ledger.gone.get(user)
    if gone is None or gone.policy is not Policy.MANAGE or ledger.retained(user):
        return False
    theirs = set(ledger.objects(gone.document))
    # Two documents that refer to each other would wait for each other.
    items = (ledger.gone.get(each) or ledger.desired.get(each) for each in mine)
    return not any(item is not None and theirs.intersection(item.refs) for item in items)
