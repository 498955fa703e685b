"""How long a test waits for what another process does. A limit only ends a test that would fail
anyway, so none is shorter than a busy machine needs; where time itself is the promise, the test
measures it.
"""

LEAST = 90.0  # seconds


def patient(seconds: float) -> float:
    """The limit of a wait that is expected to take up to `seconds`."""
    return max(seconds, LEAST)
