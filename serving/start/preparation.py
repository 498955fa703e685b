"""What launch does beside vLLM to shorten a start: it restores what an earlier start compiled, and
reads the weights ahead. Neither can fail a start or delay it for long.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from serving.start.arguments import option
from serving.start.compile_cache import compile_cache
from serving.start.read_ahead import read_ahead
from serving.start.stages import MARKS_VARIABLE, StartStages

_PATIENCE = 120.0  # seconds for a compile cache to come from the share
log = logging.getLogger("moorage.launch")


class Preparation:
    """One start: `begin` before vLLM, `ready` once it is ready, `close` at its end."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], replica: str
    ) -> None:
        marks = Path(environment.get("MOORAGE_LOCAL", "/tmp/moorage")) / replica / "stages"
        self._marks = marks
        self._cache = compile_cache(environment, replica)
        self._weights = read_ahead(option(arguments, "--model"), environment)
        self.stages = StartStages(marks)

    async def begin(self) -> dict[str, str]:
        """Start reading the weights, while vLLM imports its modules. Returns variables for vLLM."""
        if self._weights is not None:
            self._weights.start()
        variables = {}
        with suppress(OSError):
            self._marks.parent.mkdir(parents=True, exist_ok=True)
            self._marks.unlink(missing_ok=True)
            variables[MARKS_VARIABLE] = str(self._marks)
        if self._cache is None:
            return variables
        try:
            async with asyncio.timeout(_PATIENCE):
                await _beside(self._cache.restore)
        except TimeoutError:
            self._cache.give_up()
            log.warning("the compile cache did not come within %.0f s", _PATIENCE)
        return variables | self._cache.environment

    def ready(self) -> None:
        """The start is over: write its caches while requests run. May be called more than once."""
        self.stages.reach(None)
        self.close()
        if self._cache is not None:
            _beside(self._cache.keep, niceness=10)
            self._cache = None

    def close(self) -> None:
        if self._weights is not None:
            self._weights.close()
            self._weights = None


def _beside(work: Callable[[], None], niceness: int = 0) -> asyncio.Future[None]:
    """Run it in a daemon thread, so that the process can end while a share hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not done.done():  # nobody waits any more
            done.set_result(None)

    def run() -> None:
        if niceness:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, niceness)  # of this thread alone, on Linux
        try:
            work()
        except Exception:
            log.exception("%s failed", work.__name__)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(end)

    threading.Thread(target=run, name=work.__name__, daemon=True).start()
    return done
