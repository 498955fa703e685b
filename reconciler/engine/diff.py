"""Which owned fields differ: pure, and the only judge of "up to date". Kinds give the `rules`,
`reconcile` acts on the changes, `moorage diff` shows what was left out as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from reconciler.engine.external import Change
from reconciler.engine.rules import EXACT, Rewrite, Rules, Traits
from reconciler.engine.sameness import field_of, folded, is_empty, is_identical, is_same, of_id

SECRET = "(secret)"


class Suppression(StrEnum):
    """Why a field that reads differently counts as the same."""

    SERVER_DEFAULT = "server default"  # nothing was asked, or just what nothing means
    CASING = "casing"  # the same value, spelled differently
    WRITE_ONLY = "write-only"  # sent, and never returned
    READ_ONLY = "read-only"  # computed, whatever was sent


class Suppressed(NamedTuple):
    """A field that reads differently and counts as the same."""

    path: str
    asked: Any
    found: Any
    why: Suppression


class Comparison(NamedTuple):
    """Everything that reads differently."""

    changes: tuple[Change, ...]
    suppressed: tuple[Suppressed, ...]


def diff(desired: Any, observed: Any, rules: Rules = EXACT, at: str = "") -> tuple[Change, ...]:
    """The owned fields of `observed` that differ from `desired`, in the order `desired` names them.

    Only what `desired` sets is compared. None, an absent field and an empty value are the same; a
    number and its text are the same; `1.0Gi` is `1Gi`. `at` is the path, in the rules, of what is
    given, and begins the paths of the changes.
    """
    start = _Position.first(rules, None if at else desired, at)
    return tuple(found for found in _walk(desired, observed, start) if isinstance(found, Change))


def compare(desired: Any, observed: Any, rules: Rules = EXACT) -> Comparison:
    """The changes of `diff`, and every other field that reads differently with the reason why it
    counts as the same.
    """
    found = list(_walk(desired, observed, _Position.first(rules, desired, thorough=True)))
    return Comparison(
        tuple(each for each in found if isinstance(each, Change)),
        tuple(each for each in found if isinstance(each, Suppressed)),
    )


Found = Iterator[Change | Suppressed]


class _Position(NamedTuple):
    """Where the walk is, and what the rules say about that path. `whole` is all that is asked; None
    where the walk begins inside of it. With `thorough` the walk also reports fields that nobody
    asked for. A tuple is cheap, and every look makes some hundred.
    """

    rules: Rules
    whole: Any
    path: tuple[str, ...]
    shown: str
    thorough: bool
    traits: Traits

    @classmethod
    def first(cls, rules: Rules, whole: Any, at: str = "", *, thorough: bool = False) -> _Position:
        path = tuple(at.split(".")) if at else ()
        return cls(rules, whole, path, at, thorough, rules.traits(path))

    def field(self, name: str) -> _Position:
        return self._below(name, f"{self.shown}.{name}" if self.shown else name)

    def member(self, name: str) -> _Position:
        """A field of a mapping. Under the rule `members` it is shown like a list entry."""
        if not self.traits.members:
            return self.field(name)
        return self._below(name, f"{self.shown}[{name}]")

    def entry(self, name: object) -> _Position:
        return self._replace(shown=f"{self.shown}[{name}]")

    def _below(self, name: str, shown: str) -> _Position:
        path = (*self.path, name)
        traits = self.rules.traits(path)
        return _Position(self.rules, self.whole, path, shown, self.thorough, traits)

    def change(self, before: Any, after: Any) -> Change:
        return Change(self.shown, self.masked(before), self.masked(after), self.traits.effect)

    def suppress(self, asked: Any, found: Any, why: Suppression) -> Suppressed:
        return Suppressed(self.shown, self.masked(asked), self.masked(found), why)

    def masked(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.field(str(name)).masked(inner) for name, inner in value.items()}
        if _is_list(value):
            return [self.masked(inner) for inner in value]
        return SECRET if self.traits.secret and not is_empty(value) else value

    def same(self, asked: Any, found: Any) -> bool:
        traits = self.traits
        return is_same(
            asked,
            found,
            ignore_case=traits.ignore_case,
            quantity=traits.quantity,
            literal=traits.literal,
        )


def _walk(asked: Any, found: Any, place: _Position) -> Found:
    traits = place.traits
    if place.path and traits.ignored:
        return
    # Before any comparison of values: the service computes or hides these fields.
    if traits.read_only:
        if not is_empty(asked) and not is_identical(asked, found):
            yield place.suppress(asked, found, Suppression.READ_ONLY)
    elif traits.moot and traits.moot(place.whole):
        if not (is_empty(asked) and is_empty(found)) and not is_identical(asked, found):
            why = Suppression.SERVER_DEFAULT if is_empty(asked) else Suppression.READ_ONLY
            yield place.suppress(asked, found, why)
    elif traits.write_only and is_empty(found):
        if not is_empty(asked):
            yield place.suppress(asked, found, Suppression.WRITE_ONLY)
    elif is_empty(asked) and is_empty(found):
        return
    elif is_empty(asked) and not _is_list(asked) and not (asked == "" and traits.literal):
        yield from _unasked(asked, found, place)
    elif is_empty(found) and _stands_for_nothing(asked, place):
        yield place.suppress(asked, found, Suppression.SERVER_DEFAULT)
    elif traits.rewrite:
        yield from _rewritten(asked, found, traits.rewrite, place)
    else:
        yield from _by_shape(asked, found, place)


def _rewritten(asked: Any, found: Any, rewrite: Rewrite, place: _Position) -> Found:
    """Compared as the one who asked would spell it; the other spelling is reported."""
    respelled = rewrite(asked, found)
    differences = [*_by_shape(asked, respelled, place)]
    yield from differences
    if respelled is not found and not any(isinstance(each, Change) for each in differences):
        yield place.suppress(asked, found, Suppression.CASING)


def _by_shape(asked: Any, found: Any, place: _Position) -> Found:
    key = place.traits.key
    if isinstance(asked, Mapping) and (found is None or isinstance(found, Mapping)):
        yield from _mapping(asked, found or {}, place)
    elif _is_list(asked) and (found is None or _is_list(found)):
        if not asked and _is_default(found, place):
            yield place.suppress(asked, found, Suppression.SERVER_DEFAULT)
        elif key is None:
            yield from _by_position(asked, found, place)
        elif _is_unique((asked, found or ()), key, place):
            yield from _keyed(asked, found or (), key, place)
        else:
            yield from _by_position(asked, _aligned(asked, found or (), place), place)
    elif is_identical(asked, found):
        return
    elif place.same(asked, found):
        yield place.suppress(asked, found, Suppression.CASING)
    else:
        yield place.change(found, asked)


def _unasked(asked: Any, found: Any, place: _Position) -> Found:
    """Null or nothing was asked: what is there is the service's choice, or somebody added it."""
    if isinstance(asked, Mapping) and isinstance(found, Mapping):
        if place.thorough and (place.traits.whole or place.traits.members):
            yield place.suppress(asked, found, Suppression.SERVER_DEFAULT)
        elif place.thorough:
            yield from _mapping(asked, found, place)
    elif isinstance(asked, Mapping) or _is_choice(found, place):
        yield place.suppress(asked, found, Suppression.SERVER_DEFAULT)
    else:
        yield place.change(found, asked)


def _is_choice(found: Any, place: _Position) -> bool:
    """Whether the service may have put this where nothing was asked."""
    traits = place.traits
    if traits.read_only or traits.write_only or traits.ignored or traits.varying:
        return True
    if is_empty(found):
        return True
    if _stands_for_nothing(found, place):
        return True
    if isinstance(found, Mapping):
        return all(_is_choice(value, place.field(str(name))) for name, value in found.items())
    if _is_list(found) and (traits.whole or traits.key is not None):
        return False
    # A list that no rule names belongs to a later API; one of ours would be named.
    return place.rules.null_asks_nothing and not traits.defaults


def _stands_for_nothing(asked: Any, place: _Position) -> bool:
    """Whether the service may leave this out, because it means the same as nothing."""
    if asked is False and place.rules.absent_is_false and not place.traits.defaults:
        return True
    return _is_default(asked, place)


def _is_default(value: Any, place: _Position) -> bool:
    return any(_differs_nowhere(default, value, place) for default in place.traits.defaults)


def _differs_nowhere(default: Any, value: Any, place: _Position) -> bool:
    if isinstance(default, Mapping | list | tuple):
        return not _changes(default, value, place._replace(thorough=False))
    return place.same(default, value)


def _changes(asked: Any, found: Any, place: _Position) -> list[Change]:
    return [each for each in _by_shape(asked, found, place) if isinstance(each, Change)]


def _mapping(asked: Mapping[str, Any], found: Mapping[str, Any], place: _Position) -> Found:
    """Names match exactly, else in any case, because ARM takes `Name` for `name`."""
    by_fold = {str(name).casefold(): name for name in found}
    matched = {name: name if name in found else by_fold.get(str(name).casefold()) for name in asked}
    members = place.traits.members
    # Only a PATCH holds a null, and that leaves alone what it does not name.
    patched = members and None in asked.values()
    for name, value in asked.items():
        there = matched[name]
        if members and (there is None or value is None):
            # A null in a PATCH asks ARM to remove the member.
            if (there is None) != (value is None):
                before = None if there is None else found[there]
                yield place.member(str(name)).change(before, value)
            continue
        inner = place.member(str(name))
        yield from _walk(value, None if there is None else found[there], inner)
    # ARM sends null for what is not set, and that is no difference.
    others = {n: v for n, v in found.items() if n not in matched.values() and v is not None}
    for name, value in others.items():
        inner = place.member(str(name))
        if (members and not patched) or (place.traits.whole and not _is_choice(value, inner)):
            yield inner.change(value, None)
        elif place.thorough and not (is_empty(value) or inner.traits.ignored):
            read_only = inner.traits.read_only
            why = Suppression.READ_ONLY if read_only else Suppression.SERVER_DEFAULT
            yield inner.suppress(None, value, why)


def _keyed(asked: Sequence[Any], found: Sequence[Any], key: str, place: _Position) -> Found:
    there = {_identity(entry, key, place): entry for entry in found}
    wanted = {_identity(entry, key, place): entry for entry in asked}
    extra = {identity: entry for identity, entry in there.items() if identity not in wanted}
    if not key and place.traits.whole:
        # Plain values have no name to show in a path, so the list is one change.
        if extra or wanted.keys() - there.keys():
            yield place.change(found, asked)
        return
    for identity, entry in wanted.items():
        here = place.entry(_name(entry, key))
        if identity in there:
            if key:
                yield from _walk(entry, there[identity], here)
        elif renamed := _renamed(entry, extra, here):
            yield renamed
        else:
            yield here.change(None, entry)
    for entry in extra.values():
        here = place.entry(_name(entry, key))
        if place.traits.whole:
            yield here.change(entry, None)
        elif place.thorough:  # the service's own entry, or one of somebody else
            yield here.suppress(None, entry, Suppression.SERVER_DEFAULT)


def _renamed(entry: Any, extra: dict[str, Any], here: _Position) -> Change | None:
    """The change of the name, if `entry` differs from an entry of `extra` in nothing else; that one
    is taken out of `extra`. Where the list is not owned whole, the other entry stays in Azure, so
    only a thorough comparison reports a rename.
    """
    if not (here.traits.whole or here.thorough) or not isinstance(entry, Mapping):
        return None
    for identity, other in extra.items():
        spelled = here.traits.rewrite(entry, other) if here.traits.rewrite else other
        there, back = _changes(entry, spelled, here), _changes(spelled, entry, here)
        paths = {each.path.casefold() for each in (*there, *back)}
        if len(there) == len(paths) == 1 and len(back) <= 1:
            del extra[identity]
            return there[0]
    return None


def _aligned(asked: Sequence[Any], found: Sequence[Any], place: _Position) -> Sequence[Any]:
    """What is found, each entry that is as asked in the asked place. Order means nothing in a list
    with names, also where one name stands twice: a revision has the traffic of two labels.
    """
    left, equals = list(found), {}
    for index, entry in enumerate(asked):
        same = (each for each in left if not _changes(entry, each, place))
        if (equal := next(same, None)) is not None:
            left.remove(equal)
            equals[index] = equal
    rest = iter(left)
    aligned = [equals[i] if i in equals else next(rest, None) for i in range(len(asked))]
    return [*aligned, *rest] if len(asked) <= len(found) else found


def _by_position(asked: Sequence[Any], found: Sequence[Any] | None, place: _Position) -> Found:
    """Lists of plain values are shown whole, because `args[3]` tells a person nothing."""
    if found is None or len(asked) != len(found):
        yield place.change(found, asked)
    elif any(isinstance(entry, Mapping) for entry in asked):
        for index, (want, have) in enumerate(zip(asked, found, strict=True)):
            yield from _walk(want, have, place.entry(index))
    elif not all(place.same(want, have) for want, have in zip(asked, found, strict=True)):
        yield place.change(found, asked)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_unique(sides: Sequence[Sequence[Any]], key: str, place: _Position) -> bool:
    """Whether the key tells the entries of each side apart. If not, they match by position."""
    return all(
        len({_identity(entry, key, place) for entry in side}) == len(side)
        or not any(isinstance(entry, Mapping) for entry in side)
        for side in sides
    )


def _name(entry: Any, key: str) -> Any:
    if not key or not isinstance(entry, Mapping):
        return entry
    first, *others = key.split("|")
    if not is_empty(named := field_of(entry, first)):
        return named
    # The others say what an entry is without a name: `latestRevision: true`, which may be a text.
    for name in others:
        if not is_empty(value := field_of(entry, name)):
            return name if is_same(value, True) else value
    return None


def _identity(entry: Any, key: str, place: _Position) -> str:
    named = _name(entry, key)
    whole = isinstance(named, float) and named.is_integer()  # a port may be read as 80.0
    name = str(int(named) if whole else named)
    fields = [place, *(place.field(each) for each in key.split("|") if each)]
    return folded(name) if any(each.traits.ignore_case for each in fields) else of_id(name)
