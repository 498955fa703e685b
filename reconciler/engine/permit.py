"""The permission to write, asked once more at the last moment: when a request is about to be sent.

`reconcile` and `deletion` grant it around a kind's write; the HTTP session asks before every
request that could change something. Between the two, a machine can be suspended for an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Check = Callable[[], None]
_CHECK: ContextVar[Check | None] = ContextVar("write permit", default=None)


@contextmanager
def permit(check: Check) -> Iterator[None]:
    """Ask `check`, which raises when nothing may be written, now and before each request that this
    task or one of its children sends inside the block.
    """
    check()
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


def confirm() -> None:
    """Raise if the permit of this task refuses. Does nothing outside of a permit."""
    if check := _CHECK.get():
        check()
