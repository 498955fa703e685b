"""Whether a person waits for what is being done. `controller` says it around each pass; `arm` asks
where a request could wait for others or go first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WAITED_FOR: ContextVar[bool] = ContextVar("a person waits", default=False)


@contextmanager
def urgency(*, waited_for: bool) -> Iterator[None]:
    """Set the urgency of this task, and of the tasks that it starts, inside the block."""
    token = _WAITED_FOR.set(waited_for)
    try:
        yield
    finally:
        _WAITED_FOR.reset(token)


def is_waited_for() -> bool:
    return _WAITED_FOR.get()
