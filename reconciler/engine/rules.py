"""How one kind compares what is asked with what is found. `diff` walks by these rules, each kind
gives its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

Path = tuple[str, ...]
Rewrite = Callable[[Any, Any], Any]
Moot = Callable[[Any], bool]
IN_PLACE = "update in place"
_KEPT = 4096  # paths whose traits are remembered; every name of a tag makes one more


@dataclass(frozen=True)
class OneOf:
    """Several values of a default, of which the service takes one."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Rules:
    """How one kind compares. A path is dotted and leaves list entries out
    (`template.containers.env`); `*` stands for one segment, a leading `…` for any beginning
    (`…env`). Most rules hold for everything below their path.

    lists: path -> the field that identifies an entry ("" when entries are plain values, `a|b` for
        the first of two that is set); order then means nothing.
    whole: lists and mappings owned entirely, where an extra observed entry is a change.
    members: mappings whose names alone are asked for, such as identities by their ids.
    ignore_case: case and spaces mean nothing (locations, enums). quantities: "0.50" is "0.5".
    literal: texts that the service only hands on, so that `1Gi` is not `1024Mi`.
    ignored: never compared. secrets: compared but never shown.
    read_only: the service computes it, whatever is sent. write_only: the service never returns it.
    defaults: what an absent value stands for, on either side; `OneOf` where it may be several.
    rewrites: path -> (asked, found) -> found as the one who asked would spell it.
    moot: path -> (the whole body that is asked) -> whether another field of it leaves this one to
        the service, whatever is sent.
    effects: path -> what a change there does, for example `new revision` or `replace`.
    absent_is_false: the service leaves out a boolean that is false and has no default.
    null_asks_nothing: a null value leaves the choice to the service. A default, where one is named,
        is then the only choice that it may have made.
    varying: fields whose default depends on the API version or on another resource, so that for
        a null any value may be the default.
    """

    lists: Mapping[str, str] = field(default_factory=dict)
    whole: Sequence[str] = ()
    members: Sequence[str] = ()
    ignore_case: Sequence[str] = ()
    quantities: Sequence[str] = ()
    literal: Sequence[str] = ()
    ignored: Sequence[str] = ()
    secrets: Sequence[str] = ()
    read_only: Sequence[str] = ()
    write_only: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    rewrites: Mapping[str, Rewrite] = field(default_factory=dict)
    moot: Mapping[str, Moot] = field(default_factory=dict)
    effects: Mapping[str, str] = field(default_factory=dict)
    absent_is_false: bool = False
    null_asks_nothing: bool = False
    varying: Sequence[str] = ()

    def traits(self, path: Path) -> Traits:
        """What the rules say of one path, its names in any letters; remembered, because every look
        asks again.
        """
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[path] = self._traits(path)
        return known

    def knows(self, path: Path) -> bool:
        """Whether a rule speaks of that path or of one below it."""
        said = (*self.lists, *self.whole, *self.ignore_case, *self.read_only, *self.defaults)
        folded = tuple(name.casefold() for name in path)
        return any(_parts(pattern)[: len(path)] == folded for pattern in said)

    @cached_property
    def _known(self) -> dict[Path, Traits]:
        return {}

    def _traits(self, path: Path) -> Traits:
        above = self.traits(path[:-1]) if path else Traits()
        default = _first(self.defaults, path, None)
        # Those that ask `above` hold for all below a field. The others (how a list or mapping is
        # matched, defaults, rewrites) hold for one path only.
        return Traits(
            key=_first(self.lists, path, None),
            whole=_any(self.whole, path),
            members=_any(self.members, path),
            ignore_case=above.ignore_case or _any(self.ignore_case, path),
            quantity=above.quantity or _any(self.quantities, path),
            literal=above.literal or _any(self.literal, path),
            ignored=above.ignored or _any(self.ignored, path),
            secret=above.secret or _any((*self.secrets, *self.write_only), path),
            read_only=above.read_only or _any(self.read_only, path),
            write_only=above.write_only or _any(self.write_only, path),
            defaults=default.values
            if isinstance(default, OneOf)
            else ()
            if default is None
            else (default,),
            rewrite=_first(self.rewrites, path, None),
            moot=_first(self.moot, path, None),
            effect=_first(self.effects, path, above.effect),
            varying=_any(self.varying, path),
        )


EXACT = Rules()


@dataclass(frozen=True)
class Traits:
    """The rules of one path, those of the paths above it included where they hold below."""

    key: str | None = None
    whole: bool = False
    members: bool = False
    ignore_case: bool = False
    quantity: bool = False
    literal: bool = False
    ignored: bool = False
    secret: bool = False
    read_only: bool = False
    write_only: bool = False
    defaults: tuple[Any, ...] = ()
    rewrite: Rewrite | None = None
    moot: Moot | None = None
    effect: str = IN_PLACE
    varying: bool = False


def _any(patterns: Iterable[str], path: Path) -> bool:
    return any(_matches(pattern, path) for pattern in patterns)


def _first(patterns: Mapping[str, Any], path: Path, otherwise: Any) -> Any:
    return next(
        (value for pattern, value in patterns.items() if _matches(pattern, path)), otherwise
    )


def _matches(pattern: str, path: Path) -> bool:
    parts = _parts(pattern.removeprefix("…").removeprefix("."))
    end = path[-len(parts) :] if pattern.startswith("…") else path
    return len(parts) == len(end) and all(
        part in ("*", name.casefold()) for part, name in zip(parts, end, strict=True)
    )


@lru_cache(maxsize=4096)
def _parts(pattern: str) -> Path:
    return tuple(pattern.casefold().split("."))
