"""The first look of `moorage up` at Azure. A daemon outlives any outage later, so it waits for one
here too, and says what it waits for.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat

import structlog

from reconciler import supervision
from reconciler.api.problems import ManifestError
from reconciler.engine.errors import (
    NotConnected,
    ReconcileError,
    RetryableError,
    Throttled,
    WaitingForHuman,
)

log = structlog.get_logger(__name__)
FIRST_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds
MOST_PAUSE = 30.0
MOST_UNCONNECTED = 120.0  # with `once`: a wrong address does not mend itself


async def first_look(
    load: Callable[[], Awaitable[object]], say: Callable[[str], None], *, once: bool
) -> None:
    """Call `load` until it succeeds. `say` gets each reason to wait, once. With `once` nobody is
    waited for who would have to act, such as somebody who assigns a role or corrects an address.

    Raises:
        ReconcileError: it is nothing that waiting cures.
        ManifestError: the documents were bad from the start.
    """
    said, unconnected = "", 0.0
    for pause in _pauses():
        try:
            await load()
            return
        except ManifestError as error:
            if not said:
                raise
            text = str(error)  # a bad save while Azure was waited for; the next one may be good
        except (RetryableError, WaitingForHuman) as error:
            if once and isinstance(error, WaitingForHuman):
                raise
            unconnected = unconnected if isinstance(error, NotConnected) else -math.inf
            if once and unconnected >= MOST_UNCONNECTED:
                raise
            text, pause = f"{error.reason}: {error.message}", _told(error, pause)  # noqa: PLW2901
        if text != said:
            log.warning("Azure cannot be read yet; tried again", why=text)
            say(text)
            said = text
        supervision.notify(supervision.STILL_STARTING)
        await asyncio.sleep(pause)
        unconnected += pause


def _pauses() -> Iterator[float]:
    return chain(FIRST_PAUSES, repeat(MOST_PAUSE))


def _told(error: ReconcileError, pause: float) -> float:
    """Azure's own Retry-After, where it gave one, in place of `pause`."""
    told = error.retry_after if isinstance(error, Throttled) else None
    return min(told or pause, MOST_PAUSE)
