"""Giving memory back."""

import gc
import re
import weakref
from pathlib import Path

import pytest

from reconciler import memory


def resident():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def test_what_was_freed_goes_back_to_the_system():
    """Blocks freed below one that is still in use stay with the process until it gives
    them back.
    """
    if memory._trim() is None:
        pytest.skip("the C library is not glibc")
    blocks = [bytes(100_000) for _ in range(600)]
    last = bytes(100_000)
    del blocks
    before = resident()
    memory.give_back()
    assert before - resident() > 30_000_000
    assert len(last) == 100_000


class Cycle:
    """An object that only a look for unreachable cycles can remove."""

    def __init__(self):
        self.self = self


def looked_through():
    """How many objects a full look for unreachable cycles goes through."""
    return len(gc.get_objects())


def test_what_has_stayed_is_not_looked_through_again():
    """A daemon with a thousand services holds a million objects, and looking through them takes
    0.3 s in which nothing else goes on. Garbage is still found: new garbage at once, and old
    garbage once an hour.
    """
    now = [0.0]
    tidying = memory.Tidying(lambda: now[0])
    kept = [{"number": [number]} for number in range(100_000)]
    old = Cycle()
    gone, old_gone = weakref.ref(Cycle()), weakref.ref(old)
    try:
        tidying.tidy()
        assert gone() is None
        assert looked_through() < 10_000 < len(kept)
        del old
        now[0] += memory.EVERY
        tidying.tidy()
        assert old_gone() is not None
        now[0] += memory.WHOLE
        tidying.tidy()
        assert old_gone() is None
    finally:
        gc.unfreeze()
