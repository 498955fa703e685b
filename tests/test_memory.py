"""Giving memory back."""

import re
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
