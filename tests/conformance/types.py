"""Azure's published types as JSON Schema: what a resource may hold when it is written and when it
is read.

The type data is no part of this repository: `shared/azure/specs/bicep-types` beside the checkout,
or MOORAGE_TYPES.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from .recordings import ROOT

REQUIRED, READ_ONLY, WRITE_ONLY = 1, 2, 4
_ENVELOPE = {"id", "name", "type", "apiVersion"}
_FRACTIONS = {
    "cpu",
    "gpu",
    "dailyQuotaGb",
    "transactionWeight",
}  # numbers that the type data calls integers


def folder() -> Path | None:
    """Where the type data lies; None without it."""
    named = os.environ.get("MOORAGE_TYPES")
    places = (
        [Path(named)]
        if named
        else [
            up / "shared" / "azure" / "specs" / "bicep-types"
            for up in (ROOT.parent, *ROOT.parents[1:3])
        ]
    )
    return next((place for place in places if place.is_dir()), None)


@dataclass(frozen=True)
class Use:
    """How a body is looked at: `answer` by a reader, else by a writer; `part` of a PATCH, where
    nothing is required. The answer of an action may hold `secrets`: that is what it is for.
    """

    answer: bool
    part: bool = False
    secrets: bool = False

    def allows(self, flags: int) -> bool:
        return self.secrets or not flags & (WRITE_ONLY if self.answer else READ_ONLY)

    def requires(self, flags: int) -> bool:
        return bool(flags & REQUIRED) and self.allows(flags) and not self.part


class Types:
    """One file of type data."""

    def __init__(self, path: Path) -> None:
        self.entries: list[dict[str, Any]] = json.loads(path.read_text())
        self._validators: dict[tuple[int, Use], Draft202012Validator] = {}
        self.resources: dict[tuple[str, str], int] = {}
        self.actions: dict[tuple[str, str], dict[str, Any]] = {}
        for one in self.entries:
            if one["$type"] == "ResourceType":
                name, version = one["name"].lower().split("@")
                self.resources[name, version] = _place(one["body"])
            elif one["$type"] == "ResourceFunctionType":
                self.actions[one["resourceType"].lower(), one["name"].lower()] = one

    def validator(self, place: int, use: Use) -> Draft202012Validator:
        if (place, use) not in self._validators:
            definitions: dict[str, Any] = {}
            self._schema(place, use, definitions, "")
            top = {**definitions[str(place)]}
            if "properties" in top and not use.answer:
                top["properties"] = {
                    key: value for key, value in top["properties"].items() if key not in _ENVELOPE
                }
                top["required"] = [key for key in top["required"] if key not in _ENVELOPE]
            self._validators[place, use] = Draft202012Validator({**top, "$defs": definitions})
        return self._validators[place, use]

    def _schema(
        self, place: int, use: Use, definitions: dict[str, Any], name: str
    ) -> dict[str, Any]:
        """The schema of an entry; objects go to `$defs`, because they may contain themselves."""
        one = self.entries[place]
        match one["$type"]:
            case "StringType":
                kept = {
                    key: one[key] for key in ("minLength", "maxLength", "pattern") if key in one
                }
                return {"type": "string", **kept}
            case "StringLiteralType":
                return {"const": one["value"]}
            case "IntegerType":
                kept = {"minimum": one.get("minValue"), "maximum": one.get("maxValue")}
                limits = {key: value for key, value in kept.items() if value is not None}
                return {"type": "number" if name in _FRACTIONS else "integer", **limits}
            case "BooleanType":
                return {"type": "boolean"}
            case "ArrayType":
                return {
                    "type": "array",
                    "items": self._schema(_place(one["itemType"]), use, definitions, name),
                }
            case "UnionType":
                return {
                    "anyOf": [
                        self._schema(_place(each), use, definitions, name)
                        for each in one["elements"]
                    ]
                }
            case "ObjectType" | "DiscriminatedObjectType":
                if str(place) not in definitions:
                    definitions[str(place)] = {}
                    build = self._object if one["$type"] == "ObjectType" else self._discriminated
                    definitions[str(place)] = build(one, use, definitions)
                return {"$ref": f"#/$defs/{place}"}
            case _:
                return {}

    def _object(
        self,
        one: dict[str, Any],
        use: Use,
        definitions: dict[str, Any],
        more: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        members = {**(more or {}), **one.get("properties", {})}
        properties = {
            name: self._schema(_place(member["type"]), use, definitions, name)
            for name, member in members.items()
            if use.allows(member["flags"])
        }
        required = [
            name
            for name, member in members.items()
            if use.requires(member["flags"]) and name != "apiVersion"
        ]
        extra = one.get("additionalProperties")
        rest = self._schema(_place(extra), use, definitions, "") if extra else False
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": rest,
        }

    def _discriminated(
        self, one: dict[str, Any], use: Use, definitions: dict[str, Any]
    ) -> dict[str, Any]:
        """One shape for each value of the discriminator, the base's properties in all of them."""
        shapes = [
            self._object(self.entries[_place(each)], use, definitions, one["baseProperties"])
            for each in one["elements"].values()
        ]
        return {"type": "object", "required": [one["discriminator"]], "anyOf": shapes}


@lru_cache
def load(path: Path) -> Types:
    return Types(path)


def versions(namespace: str) -> dict[str, list[Types]]:
    """The type data of a provider by api-version, oldest first; one version may be in several
    files.
    """
    place = folder()
    found: dict[str, list[Types]] = {}
    for path in sorted(place.glob(f"{namespace}_*.types.json")) if place else []:
        match = re.fullmatch(r".*_(\d{4}-\d\d-\d\d(?:-preview)?)(?:_\w)?\.types\.json", path.name)
        if match:
            found.setdefault(match[1], []).append(load(path))
    return found


def nearest(namespace: str, version: str) -> list[Types]:
    """The type data for an api-version: the latest that is not younger and no preview, else the
    oldest.
    """
    known = versions(namespace)
    stable = [each for each in known if not each.endswith("-preview") or each == version]
    older = [each for each in stable if each <= version]
    return known[older[-1] if older else stable[0]] if stable else []


def violations(kind: str, version: str, body: Any, use: Use) -> Iterator[str]:
    """What is wrong with the body of a resource, as `path: sentence`; nothing for a type that the
    data does not know.
    """
    for types in nearest(spelled(kind), version):
        for (name, _), place in types.resources.items():
            if name == kind.lower():
                yield from _wrong(types.validator(place, use), body)


def wrong_output(kind: str, action: str, version: str, body: Any) -> Iterator[str]:
    """The same for the answer of an action such as `listKeys`."""
    for types in nearest(spelled(kind), version):
        known = types.actions.get((kind.lower(), action.lower()))
        if known and "output" in known:
            yield from _wrong(
                types.validator(_place(known["output"]), Use(answer=True, secrets=True)), body
            )


def fields(kind: str) -> Iterator[tuple[str, int, bool]]:
    """Of every field of a type in each version with type data: the dotted path, the flags, and
    whether it takes one of a few words. What is below a read-only field is left out.
    """
    for several in versions(spelled(kind)).values():
        for known in several:
            for (name, _), place in known.resources.items():
                if name == kind.lower():
                    yield from _fields(known, place, "", frozenset())


def _fields(
    types: Types, place: int, above: str, seen: frozenset[int]
) -> Iterator[tuple[str, int, bool]]:
    one = types.entries[place]
    if one["$type"] == "ArrayType":
        yield from _fields(types, _place(one["itemType"]), above, seen)
    elif place not in seen:
        if extra := one.get("additionalProperties"):
            yield from _fields(types, _place(extra), f"{above}*.", seen | {place})
        for name, member in {**one.get("baseProperties", {}), **one.get("properties", {})}.items():
            if name == "apiVersion":
                continue
            inner = _place(member["type"])
            yield f"{above}{name}", member["flags"], types.entries[inner]["$type"] == "UnionType"
            if not member["flags"] & READ_ONLY:
                yield from _fields(types, inner, f"{above}{name}.", seen | {place})


def spelled(kind: str) -> str:
    """The namespace of a type as its file is named."""
    names = {
        name.split("_")[0].lower(): name.split("_")[0]
        for name in (path.name for path in (folder() or Path()).glob("*.json"))
    }
    return names.get(kind.split("/", maxsplit=1)[0].lower(), kind.split("/", maxsplit=1)[0])


def _wrong(validator: Draft202012Validator, body: Any) -> Iterator[str]:
    for error in validator.iter_errors(_bare(body)):
        deepest = (
            max(_deeper(error), key=lambda one: len(one.absolute_path)) if error.context else error
        )
        path = "".join(
            "[]" if isinstance(step, int) else f".{step}" for step in deepest.absolute_path
        ).removeprefix(".")
        if deepest.validator == "additionalProperties" and deepest.validator_value is False:
            for name in sorted(set(deepest.instance) - set(deepest.schema["properties"])):
                yield f"{path}.{name}: is not among the type's properties".removeprefix(".")
        else:
            yield f"{path or '(top)'}: {deepest.message[:300]}"


def _deeper(error: Any) -> Iterator[Any]:
    yield error
    for inner in error.context or []:
        yield from _deeper(inner)


def _bare(value: Any) -> Any:
    """Null is absent: the type data has no word for it, and Azure writes it where it has nothing to
    say.
    """
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _place(reference: dict[str, str]) -> int:
    return int(reference["$ref"].rsplit("/", 1)[-1])
