"""What keeps an object waiting: the objects at the root of its chain of references, which do not
wait themselves. Pure. `reconcile` and `summary` show it in a message.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.reasons import Reason
from reconciler.engine.external import ObjectKey
from reconciler.engine.ledger import Ledger
from reconciler.engine.record import Phase


def waiting_for(ledger: Ledger, unready: Iterable[ObjectKey]) -> str:
    """The message, with the reason of each root, so that nobody must follow the chain."""
    return f"waits for {', '.join(_described(ledger, key) for key in _roots(ledger, unready))}"


def _roots(ledger: Ledger, unready: Iterable[ObjectKey]) -> list[ObjectKey]:
    found: dict[ObjectKey, None] = {}
    left, seen = list(unready), set[ObjectKey]()
    while left:
        key = left.pop(0)
        if key in seen:
            continue
        seen.add(key)
        record, desired = ledger.records.get(key), ledger.desired.get(key)
        waits = record is not None and record.phase is Phase.WAITING
        further = ledger.unready(desired) if waits and desired else ()
        left.extend(further)
        if not further:
            found[key] = None
    return list(found)


def _described(ledger: Ledger, key: ObjectKey) -> str:
    record = ledger.records.get(key)
    if key not in ledger.desired:
        return f"{key} (no document asks for it)"
    reason = record.reason if record is not None else None
    # Before the first look there is nothing to say of it.
    return f"{key} ({reason})" if reason not in (None, Reason.NOT_OBSERVED) else str(key)
