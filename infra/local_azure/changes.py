"""Tells the controllers of apps and jobs that something stored has changed. Providers, share
records and faults call it after a write that the controllers must see.
"""

from collections.abc import Callable


class Changes:
    """Listeners are level-triggered: telling them too often costs time and nothing else."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def notify(self) -> None:
        for listener in self._listeners:
            listener()
