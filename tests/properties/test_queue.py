"""The queue as a state machine: whatever happens in whatever order, no key is held twice and none
is lost.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reconciler.engine.external import ObjectKey
from reconciler.engine.queue import ALONE, Priority, WorkQueue

KEYS = [ObjectKey("Thing", name) for name in "abc"]
keys, priorities = st.sampled_from(KEYS), st.sampled_from(Priority)


class QueueMachine(RuleBasedStateMachine):
    """The model: which keys somebody still has to look at, and which are being looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = WorkQueue(lambda: self.now)
        self.owed: set[ObjectKey] = set()
        self.delayed: dict[ObjectKey, float] = {}
        self.held: list[ObjectKey] = []
        self.alone_until = 0.0  # until when others may have to wait for a save

    @rule(key=keys, priority=priorities)
    def add(self, key, priority):
        self.queue.add(key, priority)
        self.owed.add(key)

    @rule(key=keys, priority=priorities)
    def urge(self, key, priority):
        self.queue.urge(key, priority)
        if key not in self.held:
            self.owed.add(key)

    @rule(key=keys, delay=st.floats(0.1, 20), priority=priorities)
    def add_after(self, key, delay, priority):
        self.queue.add_after(key, delay, priority)
        self.delayed[key] = min(self.delayed.get(key, float("inf")), self.now + delay)

    @rule()
    def expect(self):
        self.queue.expect()
        self.alone_until = self.now + ALONE

    @rule(seconds=st.floats(0, 30))
    def pass_time(self, seconds):
        self.now += seconds

    @rule()
    def take(self):
        self.owed |= {key for key, when in self.delayed.items() if when <= self.now}
        free = self.owed - set(self.held)
        key = self.queue.take()
        if key is None:
            assert not free or self.now < self.alone_until, f"{free} is due and nobody gets it"
            return
        if self.queue.priority(key) is Priority.SAVE:
            self.alone_until = self.now + ALONE
        assert key not in self.held, "two workers hold one key"
        # A timer may run a rounding error early.
        assert key in self.owed or self.delayed.get(key, float("inf")) <= self.now + 0.01
        self.held.append(key)
        self.owed.discard(key)
        self.delayed.pop(key, None)

    @rule(index=st.integers(0, 2))
    def done(self, index):
        if self.held:
            self.queue.done(self.held.pop(index % len(self.held)))

    @invariant()
    def the_queue_knows_what_is_held(self):
        assert self.queue.held == set(self.held)
        assert self.queue.idle <= (not self.held)

    def teardown(self):
        """In the end every key that was asked for is handed out."""
        self.now += 100
        for _ in range(20):
            self.now += ALONE
            for key in self.held:
                self.queue.done(key)
            self.held = []
            while (key := self.queue.take()) is not None:
                self.held.append(key)
                self.owed.discard(key)
                self.delayed.pop(key, None)
        assert not self.owed
        assert not self.delayed


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase


def test_edits_go_ahead_of_resyncs():
    """A user's edit does not wait behind a resync of everything."""
    queue = WorkQueue(lambda: 0.0)
    for key in KEYS:
        queue.add(key, Priority.RESYNC)
    queue.add(KEYS[2], Priority.EDIT)
    assert [queue.take() for _ in range(4)] == [KEYS[2], KEYS[0], KEYS[1], None]


def test_a_resync_does_not_cut_a_backoff_short_but_an_edit_does():
    """A key that backs off is left alone by resyncs, also by one that came while it was held."""
    queue = WorkQueue(lambda: 0.0)
    queue.add(KEYS[0])
    assert queue.take() == KEYS[0]
    queue.add(KEYS[0], Priority.RESYNC)
    queue.add_after(KEYS[0], 60, hold=True)
    queue.done(KEYS[0])
    queue.add(KEYS[0], Priority.RESYNC)
    assert queue.take() is None
    queue.add(KEYS[0], Priority.EDIT)
    assert queue.take() == KEYS[0]


def test_nothing_is_begun_beside_a_save():
    """While a save is read, and while what it changed is held, no resync and no crowd is begun:
    only what is under way goes on. It lasts a second at most, and no longer than the save.
    """
    now = [0.0]
    queue = WorkQueue(lambda: now[0])
    saved, resynced, polled = KEYS
    queue.add(resynced, Priority.RESYNC)
    queue.expect()
    assert queue.take() is None
    queue.add(polled, Priority.EDIT)
    assert queue.take() == polled
    now[0] += 0.5
    queue.add(saved, Priority.SAVE)
    assert queue.take() == saved
    now[0] += 0.9
    assert queue.take() is None
    queue.done(saved)
    assert queue.take() == resynced
    queue.done(resynced)
    queue.add(saved, Priority.SAVE)
    queue.add(resynced, Priority.RESYNC)
    assert queue.take() == saved
    now[0] += ALONE
    assert queue.take() == resynced


def test_a_pass_under_way_takes_a_priority_over():
    """No second pass follows, and what comes of the first is as urgent."""
    queue = WorkQueue(lambda: 0.0)
    queue.add(KEYS[0], Priority.RESYNC)
    queue.urge(queue.take(), Priority.SAVE)
    assert queue.priority(KEYS[0]) is Priority.SAVE
    queue.done(KEYS[0])
    assert queue.take() is None
    queue.urge(KEYS[1], Priority.SAVE)
    assert queue.take() == KEYS[1]
    assert queue.priority(KEYS[1]) is Priority.SAVE


@pytest.mark.looptime
async def test_a_worker_that_may_begin_nothing_begins_it_when_the_save_was_none():
    """A file that was saved unchanged holds a resync up for a second, and nobody has to wake it."""
    queue, loop = WorkQueue(), asyncio.get_running_loop()
    queue.add(KEYS[0], Priority.RESYNC)
    queue.expect()
    assert await queue.get() == KEYS[0]
    assert loop.time() == pytest.approx(ALONE)


@pytest.mark.looptime
async def test_waiting_workers_get_keys_when_they_are_due():
    """`get` sleeps until a delayed key is due, and ends when the queue closes."""
    queue, got = WorkQueue(), []
    loop = asyncio.get_running_loop()

    async def work():
        while (key := await queue.get()) is not None:
            got.append((key.name, round(loop.time())))
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    queue.add_after(KEYS[0], 5)
    queue.add_after(KEYS[1], 3)
    queue.add_after(KEYS[1], 9)
    await asyncio.sleep(20)
    await queue.drain()
    await asyncio.gather(*workers)
    assert got == [("b", 3), ("a", 5)]


@pytest.mark.looptime
async def test_drain_waits_for_what_is_held():
    """A closed queue hands out nothing more and waits for the keys in work."""
    queue = WorkQueue()
    queue.add(KEYS[0])
    queue.add(KEYS[1])
    held = await queue.get()
    draining = asyncio.create_task(queue.drain())
    await asyncio.sleep(1)
    assert not draining.done()
    assert queue.take() is None
    queue.done(held)
    await asyncio.wait_for(draining, 1)


async def test_a_resync_alone_leaves_the_queue_calm():
    """Looks at what has converged are no news to anybody, as long as nothing else is due."""
    queue = WorkQueue(lambda: 0.0)
    assert queue.calm
    queue.add("a", Priority.RESYNC)
    assert queue.calm
    assert not queue.idle
    assert queue.take() == "a"
    assert queue.calm
    queue.add("b", Priority.CROWD)
    assert not queue.calm
    assert queue.take() == "b"
    assert not queue.calm
    queue.done("b")
    assert queue.calm
