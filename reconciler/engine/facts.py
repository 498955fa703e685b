"""What objects know of each other: who is ready for its dependents, with which outputs, and who
read whose.

`conclusion` fills it, a kind reads it through a `View`, which is the `Facts` of the contract.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.api.outputs import Outputs
from reconciler.api.reasons import Reason
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import Known, ObjectKey, Observation


@dataclass
class FactBook:
    """`remembered` gives what an earlier process stored of an object."""

    remembered: Callable[[ObjectKey], Mapping[str, Any]]
    _ready: dict[ObjectKey, Outputs | None] = field(default_factory=dict)
    _last: dict[ObjectKey, Outputs | None] = field(default_factory=dict)
    _open: set[ObjectKey] = field(default_factory=set)
    _readers: dict[ObjectKey, set[ObjectKey]] = field(default_factory=lambda: defaultdict(set))
    _changes: dict[ObjectKey, int] = field(default_factory=lambda: defaultdict(int))
    _read: dict[ObjectKey, dict[ObjectKey, int]] = field(default_factory=dict)

    def ready(self, key: ObjectKey) -> Outputs | None:
        """The outputs with which the object was last ready in this process.

        Raises:
            NotReadyYet: it was not.
        """
        if key not in self._ready:
            raise NotReadyYet(Reason.WAITING_FOR_REFERENCE, f"{key} is not ready")
        return self._ready[key]

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

    def see(self, key: ObjectKey, observed: Observation) -> set[ObjectKey]:
        """Keep what an observation saw. Returns the keys that read the outputs, if these have
        changed.
        """
        after = observed.outputs if observed.exists else None
        if key in self._last or after is None:
            before = self._last.get(key)
        else:
            before = type(after).load(self.remembered(key))
        self._last[key] = after
        if not observed.exists:
            self._ready.pop(key, None)
        if before == after:
            return set()
        self._changes[key] += 1
        return self._readers[key] - {key}

    def begin(self, reader: ObjectKey) -> None:
        """A pass over `reader` begins: it has read nothing yet."""
        self._read[reader] = {}

    def outdated(self, reader: ObjectKey, refs: Iterable[ObjectKey]) -> bool:
        """Whether one of `refs` has changed since the pass over `reader` read it: two workers are
        at work, and what the pass saw may not have followed.
        """
        read = self._read.get(reader, {})
        return any(ref in read and read[ref] != self._changes[ref] for ref in refs)

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
        for known in (self._ready, self._last, self._readers, self._read):
            known.pop(key, None)
        self._open.discard(key)

    def note_reader(self, key: ObjectKey, reader: ObjectKey) -> None:
        self._readers[key].add(reader)
        self._read.setdefault(reader, {})[key] = self._changes[key]


@dataclass(frozen=True)
class View:
    """The facts as one object's kind sees them. An object that reads `last` of another is woken
    when that one changes.
    """

    book: FactBook
    reader: ObjectKey

    def outputs(self, key: ObjectKey, of: type[Known]) -> Known:
        found = _typed(self.book.ready(key), of)
        if found is None:
            raise NotReadyYet(Reason.WAITING_FOR_REFERENCE, f"{key} has told nothing of itself")
        return found

    def last(self, key: ObjectKey, of: type[Known]) -> Known | None:
        if key != self.reader:
            self.book.note_reader(key, self.reader)
        return self.book.last(key, of)


def _typed(found: Outputs | None, of: type[Known]) -> Known | None:
    return found if isinstance(found, of) else None
