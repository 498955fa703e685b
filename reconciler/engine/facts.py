"""The facts that objects read of each other: which object is ready for its dependents, its outputs,
and which objects have read them.

`conclusion` fills it. A kind reads it through a `View`, which implements `Facts` and remembers all
reads, so that nothing can be read without becoming a dependency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reconciler.api.outputs import Outputs
from reconciler.api.reasons import Reason
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import Known, ObjectKey, Observation, Part


class Reading(NamedTuple):
    """What a look read of another object: how to read it again, and what it was."""

    key: ObjectKey
    again: Callable[[], object]
    value: object

    @property
    def outdated(self) -> bool:
        return self.again() != self.value


@dataclass
class FactBook:
    """`remembered` gives what an earlier process stored of an object."""

    remembered: Callable[[ObjectKey], Mapping[str, Any]]
    _ready: dict[ObjectKey, Outputs | None] = field(default_factory=dict)
    _last: dict[ObjectKey, Outputs | None] = field(default_factory=dict)
    _open: set[ObjectKey] = field(default_factory=set)
    _readings: dict[ObjectKey, tuple[Reading, ...]] = field(default_factory=dict)
    _readers: dict[ObjectKey, set[ObjectKey]] = field(default_factory=lambda: defaultdict(set))

    def ready(self, key: ObjectKey) -> Outputs | None:
        """The outputs with which the object was last ready in this process; None if it was not, or
        has none.
        """
        return self._ready.get(key)

    def last(self, key: ObjectKey, of: type[Known]) -> Known | None:
        """What the last look saw, ready or not; what an earlier process saw when this one has not
        looked yet.
        """
        if key not in self._last:
            return of.load(self.remembered(key))
        return _typed(self._last[key], of)

    def known(self, key: ObjectKey) -> bool:
        return key in self._ready

    def open(self, key: ObjectKey) -> bool:
        """Whether dependents of `key` may go on."""
        return key in self._open

    def close(self, key: ObjectKey) -> None:
        self._open.discard(key)

    def see(self, key: ObjectKey, observed: Observation) -> None:
        """Keep what an observation saw."""
        self._last[key] = observed.outputs if observed.exists else None
        if not observed.exists:
            self._ready.pop(key, None)

    def keep(self, view: View) -> None:
        """Keep what the last look at the reader of `view` has read, even if that look failed."""
        for reading in self._readings.get(view.reader, ()):
            self._readers[reading.key].discard(view.reader)
        self._readings[view.reader] = tuple(view.readings)
        for reading in view.readings:
            self._readers[reading.key].add(view.reader)

    def outdated(self, key: ObjectKey) -> set[ObjectKey]:
        """The readers of `key` whose last look read facts that have changed since. `key` itself is
        included if facts that it read changed during its own look.
        """
        found = {
            reader
            for reader in self._readers.get(key, ())
            if any(each.key == key and each.outdated for each in self._readings[reader])
        }
        own = any(reading.outdated for reading in self._readings.get(key, ()))
        return found | {key} if own else found

    def set_open(self, key: ObjectKey, is_open: bool) -> bool:
        """Say whether dependents may go on with the outputs last seen. Returns whether that, or the
        outputs, changed.
        """
        before = (key in self._open, self._ready.get(key))
        (self._open.add if is_open else self._open.discard)(key)
        if is_open and key in self._last:
            self._ready[key] = self._last[key]
        return before != (is_open, self._ready.get(key))

    def forget(self, key: ObjectKey) -> None:
        """`key` is gone; `outdated` then names its readers."""
        self.keep(View(self, key))
        for known in (self._ready, self._last, self._readings):
            known.pop(key, None)
        self._open.discard(key)


@dataclass(frozen=True)
class View:
    """The facts as one look at an object sees them, and all that the look has read."""

    book: FactBook
    reader: ObjectKey
    readings: list[Reading] = field(default_factory=list)

    def outputs(self, key: ObjectKey, of: type[Known]) -> Known:
        found = self._read(key, lambda: _typed(self.book.ready(key), of))
        if found is None:
            raise NotReadyYet(Reason.WAITING_FOR_REFERENCE, f"{key} is not ready")
        return found

    def last(self, key: ObjectKey, of: type[Known]) -> Known | None:
        return self._read(key, lambda: self.book.last(key, of))

    def part(self, key: ObjectKey, of: type[Known], pick: Callable[[Known], Part]) -> Part | None:
        def read() -> Part | None:
            found = self.book.last(key, of)
            return None if found is None else pick(found)

        return self._read(key, read)

    def _read(self, key: ObjectKey, again: Callable[[], Part]) -> Part:
        value = again()
        if key != self.reader:
            self.readings.append(Reading(key, again, value))
        return value


def _typed(found: Outputs | None, of: type[Known]) -> Known | None:
    return found if isinstance(found, of) else None
