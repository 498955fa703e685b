"""How long failing keys wait."""

from __future__ import annotations

from reconciler.engine.backoff import Backoff, TokenBucket
from reconciler.engine.external import ObjectKey

A, B = ObjectKey("Thing", "a"), ObjectKey("Thing", "b")


def backoff(**rest):
    return Backoff(
        base=1.0,
        cap=30.0,
        jitter=0.2,
        bucket=TokenBucket(clock=lambda: 0.0, **rest),
        random=lambda: 0.0,
    )


def test_delays_double_up_to_the_cap_per_key():
    """Each failure doubles the wait of its own key, never beyond the cap, also after very many
    failures.
    """
    waits = backoff()
    assert [waits.delay(A) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert waits.delay(B) == 1
    for _ in range(2000):
        waits.delay(A)
    assert waits.failures(A) == 2007


def test_a_success_forgets():
    """After a success the next failure starts from the beginning."""
    waits = backoff()
    waits.delay(A)
    waits.delay(A)
    waits.forget(A)
    assert waits.delay(A) == 1


def test_jitter_only_shortens():
    """The cap is a promise: jitter goes downwards."""
    waits = Backoff(base=1.0, cap=10.0, jitter=0.2, random=lambda: 1.0)
    assert waits.delay(A) == 0.8


def test_one_bucket_slows_everybody_together():
    """Beyond the burst, retries of all keys together come at the rate of the bucket."""
    now = [0.0]
    bucket = TokenBucket(rate=2.0, burst=3, clock=lambda: now[0])
    assert [bucket.reserve() for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    now[0] = 100.0
    assert [bucket.reserve() for _ in range(4)] == [0, 0, 0, 0.5]
