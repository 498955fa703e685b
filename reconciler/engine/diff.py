"""Which owned fields differ: pure, and the only judge of "up to date". Kinds give the rules,
`reconcile` acts on the changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from reconciler.engine.external import Change

SECRET = "(secret)"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|Pi)")
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}


@dataclass(frozen=True)
class Rules:
    """How one kind compares. A path is dotted and leaves list entries out
    (`template.containers.env`); `*` stands for one segment, a leading `…` for any beginning
    (`…env`). A rule holds for everything below its path.

    lists: path -> the field that identifies an entry ("" when entries are plain values); order then
        means nothing.
    whole: lists and mappings owned entirely, where an extra observed entry is a change.
    ignore_case: case and spaces mean nothing (locations, ARM ids). quantities: "0.50" is "0.5".
    ignored: never compared. secrets: compared but never shown. defaults: what an absent observed
        value stands for.
    effects: path -> what a change there does, for example `new revision` or `replace`.
    """

    lists: Mapping[str, str] = field(default_factory=dict)
    whole: Sequence[str] = ()
    ignore_case: Sequence[str] = ()
    quantities: Sequence[str] = ()
    ignored: Sequence[str] = ()
    secrets: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    effects: Mapping[str, str] = field(default_factory=dict)


def diff(desired: Any, observed: Any, rules: Rules = Rules()) -> tuple[Change, ...]:
    """The owned fields of `observed` that differ from `desired`, in the order `desired` names them.

    Only what `desired` sets is compared. None, an absent field and an empty value are the same; a
    number and its text are the same; `1.0Gi` is `1Gi`.
    """
    return tuple(_walk(desired, observed, _Position(rules)))


@dataclass(frozen=True)
class _Position:
    """Where the walk is, and which rules it has inherited on the way down."""

    rules: Rules
    path: tuple[str, ...] = ()
    shown: str = ""
    secret: bool = False
    ignore_case: bool = False
    quantity: bool = False
    effect: str = "update in place"

    def field(self, name: str) -> _Position:
        path, rules = (*self.path, name), self.rules
        return replace(
            self,
            path=path,
            shown=f"{self.shown}.{name}" if self.shown else name,
            secret=self.secret or _any(rules.secrets, path),
            ignore_case=self.ignore_case or _any(rules.ignore_case, path),
            quantity=self.quantity or _any(rules.quantities, path),
            effect=_first(rules.effects, path, self.effect),
        )

    def entry(self, name: object) -> _Position:
        return replace(self, shown=f"{self.shown}[{name}]")

    def change(self, before: Any, after: Any) -> Change:
        if self.secret:
            before, after = (None if _empty(value) else SECRET for value in (before, after))
        return Change(self.shown, before, after, self.effect)

    @property
    def whole(self) -> bool:
        return _any(self.rules.whole, self.path)


def _walk(desired: Any, observed: Any, place: _Position) -> Iterator[Change]:
    if place.path and _any(place.rules.ignored, place.path):
        return
    if observed is None:
        observed = _first(place.rules.defaults, place.path, None)
    key = _first(place.rules.lists, place.path, None)
    if _empty(desired) and _empty(observed):
        return
    if isinstance(desired, Mapping) and (observed is None or isinstance(observed, Mapping)):
        yield from _mapping(desired, observed or {}, place)
    elif _is_list(desired) and key is not None and (observed is None or _is_list(observed)):
        yield from _keyed(desired, observed or (), key, place)
    elif _is_list(desired) and _is_list(observed) and len(desired) == len(observed):
        yield from _by_position(desired, observed, place)
    elif not _same(desired, observed, place):
        yield place.change(observed, desired)


def _mapping(
    desired: Mapping[str, Any], observed: Mapping[str, Any], place: _Position
) -> Iterator[Change]:
    for name, value in desired.items():
        yield from _walk(value, observed.get(name), place.field(str(name)))
    if place.whole:
        for name, value in observed.items():
            if name not in desired and not _empty(value):
                yield place.field(str(name)).change(value, None)


def _keyed(
    desired: Sequence[Any], observed: Sequence[Any], key: str, place: _Position
) -> Iterator[Change]:
    there = {_identity(entry, key, place): entry for entry in observed}
    wanted = {_identity(entry, key, place): entry for entry in desired}
    for identity, entry in wanted.items():
        here = place.entry(_name(entry, key))
        if identity not in there:
            yield here.change(None, entry)
        elif key:
            yield from _walk(entry, there[identity], here)
    if place.whole:
        for identity, entry in there.items():
            if identity not in wanted:
                yield place.entry(_name(entry, key)).change(entry, None)


def _by_position(
    desired: Sequence[Any], observed: Sequence[Any], place: _Position
) -> Iterator[Change]:
    """Lists of plain values are shown whole, because `args[3]` tells a person nothing."""
    if any(isinstance(entry, Mapping) for entry in desired):
        for index, (want, have) in enumerate(zip(desired, observed, strict=True)):
            yield from _walk(want, have, place.entry(index))
    elif not all(_same(want, have, place) for want, have in zip(desired, observed, strict=True)):
        yield place.change(observed, desired)


def _same(desired: Any, observed: Any, place: _Position) -> bool:
    if desired == observed and isinstance(desired, bool) == isinstance(observed, bool):
        return True
    if isinstance(desired, bool) or isinstance(observed, bool):
        return False
    if isinstance(desired, str) and isinstance(observed, str):
        if place.ignore_case and _folded(desired) == _folded(observed):
            return True
        left, right = _binary(desired), _binary(observed)
        if left is not None or right is not None:
            return left == right
        return (
            place.quantity
            and _number(desired) is not None
            and _number(desired) == _number(observed)
        )
    left, right = _number(desired), _number(observed)
    return left is not None and left == right


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Mapping | list | tuple) and not value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _name(entry: Any, key: str) -> Any:
    return entry.get(key) if key and isinstance(entry, Mapping) else entry


def _identity(entry: Any, key: str, place: _Position) -> str:
    name = str(_name(entry, key))
    ignore_case = place.ignore_case or (
        bool(key) and _any(place.rules.ignore_case, (*place.path, key))
    )
    return _folded(name) if ignore_case else name


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _binary(text: str) -> Decimal | None:
    found = _QUANTITY.fullmatch(text)
    return Decimal(found[1]) * _BINARY[found[2]] if found else None


def _any(patterns: Iterable[str], path: tuple[str, ...]) -> bool:
    return any(_matches(pattern, path) for pattern in patterns)


def _first(patterns: Mapping[str, Any], path: tuple[str, ...], otherwise: Any) -> Any:
    return next(
        (value for pattern, value in patterns.items() if _matches(pattern, path)), otherwise
    )


def _matches(pattern: str, path: tuple[str, ...]) -> bool:
    parts = _parts(pattern.removeprefix("…").removeprefix("."))
    end = path[-len(parts) :] if pattern.startswith("…") else path
    return len(parts) == len(end) and all(
        part in ("*", name) for part, name in zip(parts, end, strict=True)
    )


@lru_cache(maxsize=4096)
def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("."))
