"""Bodies that set every field of a resource, made from Azure's published types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import types
from .types import READ_ONLY, WRITE_ONLY, Types

_APART = {"apiVersion", "id", "name", "type", "etag", "systemData"}
_DEPTH = 12  # of types that contain themselves


@dataclass(frozen=True)
class Leaf:
    """A plain value, or a list of them: where it is in the body, the dotted path of the rules, and
    what kind of value it is (`text`, `word` of an enum, `number`, `flag`).
    """

    at: tuple[Any, ...]
    path: str
    value: Any
    kind: str
    flags: int = 0


def bodies(kind: str) -> Iterator[tuple[str, list[Leaf]]]:
    """Per api-version with type data, the leaves of a body that sets all fields that can be written
    or read; at a choice of shapes, of the first.
    """
    for version, several in types.versions(types.spelled(kind)).items():
        for known in several:
            place = known.resources.get((kind.lower(), version))
            if place is not None:
                yield version, [*_leaves(known, place, (), "", 0, ())]


def body(leaves: list[Leaf]) -> dict[str, Any]:
    """The body that has these leaves."""
    made: dict[Any, Any] = {}
    for leaf in leaves:
        inner = made
        for step in leaf.at[:-1]:
            inner = inner.setdefault(step, {})
        inner[leaf.at[-1]] = leaf.value
    whole = _listed(made)
    assert isinstance(whole, dict)
    return whole


def _listed(value: Any) -> Any:
    """Mappings whose names are numbers are lists."""
    if not isinstance(value, dict):
        return value
    if value and all(isinstance(name, int) for name in value):
        return [_listed(value[index]) for index in sorted(value)]
    return {name: _listed(inner) for name, inner in value.items()}


def _leaves(
    known: Types, place: int, at: tuple[Any, ...], path: str, flags: int, above: tuple[int, ...]
) -> Iterator[Leaf]:
    one = known.entries[place]
    match one["$type"]:
        case "ObjectType" | "DiscriminatedObjectType":
            if above.count(place) or len(above) > _DEPTH:
                return
            yield from _members(known, one, at, path, flags, (*above, place))
        case "ArrayType":
            inner = int(one["itemType"]["$ref"].rsplit("/", 1)[-1])
            if known.entries[inner]["$type"] in ("ObjectType", "DiscriminatedObjectType"):
                for index in range(2):
                    yield from _leaves(known, inner, (*at, index), path, flags, above)
            else:
                only = [*_leaves(known, inner, ("x", 1), path, flags, above)]
                other = [*_leaves(known, inner, ("x", 2), path, flags, above)]
                values = list(dict.fromkeys(leaf.value for leaf in (*only, *other)))
                if values:
                    yield Leaf(at, path, values, only[0].kind, flags)
        case _:
            value, kind = _plain(known, one, at)
            if value is not None:
                yield Leaf(at, path, value, kind, flags)


def _plain(known: Types, one: Any, at: tuple[Any, ...]) -> tuple[Any, str]:
    """A value of the type, and its kind; None where there is no plain one."""
    number = _number(at)
    match one["$type"]:
        case "StringLiteralType":
            return one["value"], "word"
        case "UnionType":
            places = [int(each["$ref"].rsplit("/", 1)[-1]) for each in one["elements"]]
            words = [word for each in places if (word := known.entries[each].get("value"))]
            return (words[number % len(words)] if words else None), "word"
        case "IntegerType":
            return 41 + number, "number"
        case "BooleanType":
            return True, "flag"
        case "StringType":
            return f"{at[-1] if isinstance(at[-1], str) else 'x'}-{number}", "text"
    return None, ""


def _members(
    known: Types, one: Any, at: tuple[Any, ...], path: str, flags: int, above: tuple[int, ...]
) -> Iterator[Leaf]:
    properties = {**one.get("baseProperties", {}), **one.get("properties", {})}
    if one["$type"] == "DiscriminatedObjectType":
        shape = known.entries[int(next(iter(one["elements"].values()))["$ref"].rsplit("/", 1)[-1])]
        properties = {**properties, **shape["properties"]}
    if extra := one.get("additionalProperties"):
        inner = int(extra["$ref"].rsplit("/", 1)[-1])
        for name in ("first", "second"):
            below = f"{path}.{name}" if path else name
            yield from _leaves(known, inner, (*at, name), below, flags, above)
    for name, member in properties.items():
        if not path and name in _APART:
            continue
        inner = int(member["type"]["$ref"].rsplit("/", 1)[-1])
        below = f"{path}.{name}" if path else name
        inherited = flags | (member["flags"] & (READ_ONLY | WRITE_ONLY))
        yield from _leaves(known, inner, (*at, name), below, inherited, above)


def _number(at: tuple[Any, ...]) -> int:
    """The same for all fields of an entry, another for the next entry."""
    return sum((place + 1) * (step + 1) for place, step in enumerate(at) if isinstance(step, int))
