"""How a resync is divided: by scope, the shared lists first, and large scopes in parts."""

from types import SimpleNamespace

import pytest

from reconciler.engine.external import ObjectKey
from reconciler.engine.spread import SMALL, parts

TOGETHER = {"Group"}


def objects(*scopes):
    """One group and so many things in each scope, the scopes mixed as documents mix them."""
    keys, records = [], {}
    for number in range(max(scopes)):
        for scope, count in enumerate(scopes):
            kinds = ["Group", "Thing"] if number == 0 else ["Thing"] if number < count else []
            for kind in kinds:
                key = ObjectKey(kind, f"{scope}-{number}")
                keys.append(key)
                records[key] = SimpleNamespace(scope=f"{scope}")
    return keys, records


@pytest.mark.parametrize(
    "scopes", [(1,), (5, 5), (40,), (1, 2, 3), (300, 10, 10), (1000,), (60,) * 9]
)
def test_every_object_has_its_part(scopes):
    """Each once; what shares lists together, unless there is too much of it."""
    keys, records = objects(*scopes)
    found = parts(keys, records, TOGETHER)
    assert sorted(key for part in found for key in part) == sorted(keys)
    most = max(SMALL, len(keys) / 4 + 1, len(scopes))
    assert all(len(part) <= most for part in found)
    for part in found:
        kinds = {key.kind in TOGETHER for key in part}
        assert len({records[key].scope for key in part}) == 1 or kinds == {True}


def test_a_small_daemon_looks_at_all_at_once():
    """One service in one Environment is one part, as its lists are one answer."""
    keys, records = objects(3)
    assert parts(keys, records, TOGETHER) == [keys]


def test_what_was_never_looked_at_has_a_part():
    """Its scope is not known yet."""
    keys, records = objects(2, 2)
    found = parts([*keys, new := ObjectKey("Thing", "new")], records, TOGETHER)
    assert [new] in found


def test_nothing_is_no_part():
    """A daemon without documents waits for some."""
    assert parts([], {}, TOGETHER) == []
