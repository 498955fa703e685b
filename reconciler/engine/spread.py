"""How a resync is spread over its interval: which objects `controller` looks at together."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from reconciler.engine.external import ObjectKey
from reconciler.engine.record import ObjectRecord

SMALL = 25  # objects that are not divided
MOST = 0.25  # of all objects, in one part


def parts(
    keys: Sequence[ObjectKey],
    records: Mapping[ObjectKey, ObjectRecord],
    together: Collection[str],
) -> list[list[ObjectKey]]:
    """Each scope (an Environment) by itself, because its objects share lists; before them the kinds
    `together`, whose lists all scopes share. A large scope is divided.

    All at once, a thousand services would ask for a minute's reads in a few seconds, and read the
    lists of their Environment again while the others were being looked at.
    """
    shared: list[ObjectKey] = []
    scopes: dict[str, list[ObjectKey]] = {}
    for key in keys:
        record = records.get(key)
        own = scopes.setdefault(record.scope if record else "", [])
        (shared if key.kind in together else own).append(key)
    if len(scopes) == 1:
        shared, scopes = [], {"": [*shared, *next(iter(scopes.values()))]}
    size = max(SMALL, math.ceil(len(keys) * MOST))
    found = [own[at : at + size] for own in scopes.values() for at in range(0, len(own), size)]
    return [shared, *found] if shared else found
