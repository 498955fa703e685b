"""Pydantic's validation errors as problems: the place in the file, what was found, and what would
be right.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.api.amounts import number_meant
from reconciler.api.fields import REFUSED
from reconciler.api.model_fields import describe, fields_at, places_of, refusal_of
from reconciler.api.problems import Problem
from reconciler.api.yaml_node import Node

_YES = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "{} or less"),
}
_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys and values",
    "mapping_type": "a mapping of keys and values",
    "model_type": "a mapping of keys and values",
}


def explain(error: ValidationError, file: Path, node: Node, model: type[Any]) -> Iterator[Problem]:
    """Every problem in `error`, which `model` raised for the document at `node`."""
    for one in error.errors(include_url=False):
        # What follows a mapping's own key, such as "[key]", is pydantic's and stands for the key
        # itself.
        path = tuple(step for step in one["loc"] if step != "[key]")
        if one["type"] == REFUSED:
            for fault in one["ctx"]["faults"]:
                yield Problem(
                    file, *node.find((*path, *fault.at), key=fault.key), fault.message, fault.hint
                )
        elif one["type"] == "extra_forbidden":
            yield Problem(file, *node.find(path, key=True), *_unknown(path, model))
        else:
            mark = node.find(path)
            yield Problem(file, *mark, *_sentence(path, one, model))


def _sentence(
    path: tuple[str | int, ...], error: Mapping[str, Any], model: type[Any]
) -> tuple[str, str]:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    name = _dotted(path) or "the document"
    if kind == "missing":
        said = describe(model, path).rstrip(".")
        return f"{name} is missing", f"add {path[-1]}" + (
            f": {said[0].lower()}{said[1:]}" if said else ""
        )
    if kind == "model_type" and isinstance(value, str) and "source" in fields_at(model, path):
        return f"{name} is {_shown(value)}", f"write {path[-1]}: {{source: {value}}}"
    if kind in _TYPES:
        return f"{name} is {_shown(value)}", _meant(path, kind, value, model) or _wanted(
            _TYPES[kind], value
        )
    if kind in {"enum", "literal_error"}:
        return f"{name} is {_shown(value)}", f"write {_choice(value, str(context.get('expected')))}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        shown = int(bound) if bound == int(bound) else bound
        return f"{name} is {value}", f"write {words.format(shown)}"
    if kind == "too_short":
        return f"{name} is empty", "write at least one item, or leave it out"
    return f"{name}: {error['msg']}", describe(model, path)


def _unknown(path: tuple[str | int, ...], model: type[Any]) -> tuple[str, str]:
    key, parent = str(path[-1]), path[:-1]
    known = fields_at(model, parent)
    where = f" in {_dotted(parent)}" if parent else ""
    message = f"unknown key {key!r}{where}"
    spelt = {name.lower(): name for name in known}
    plain = key.replace("_", "").replace("-", "").lower()
    close = (
        [spelt[plain]] if plain in spelt else difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    )
    if close:
        return message, f"did you mean {close[0]!r}?"
    elsewhere = places_of(model, key)
    if elsewhere:
        return message, f"it belongs in {elsewhere[0]}"
    return message, f"known here: {', '.join(known)}" if known else "remove it"


def _meant(path: tuple[str | int, ...], kind: str, value: object, model: type[Any]) -> str:
    """What somebody meant who wrote an amount in another form; empty where that is not clear."""
    if isinstance(value, bool):
        return ""
    if kind == "string_type" and isinstance(value, int | float):
        fault = refusal_of(model, path, str(value))  # quotes alone would be refused too
        return fault.hint if fault else ""
    if kind in {"int_type", "float_type"} and isinstance(value, str):
        meant = number_meant(value, describe(model, path), whole=kind == "int_type")
        return f"write {meant}" + (", without quotes" if meant == value else "") if meant else ""
    return ""


def _wanted(expected: str, value: object) -> str:
    hint = f"write {expected}"
    if expected == "true or false" and isinstance(value, str) and value.lower() in _YES:
        return f"write {_YES[value.lower()]}: YAML 1.2 knows only true and false"
    if expected == "a text" and isinstance(value, (bool, int, float)):
        return (
            "put it in quotes:"
            f" {json.dumps(str(value).lower() if isinstance(value, bool) else str(value))}"
        )
    if expected in {"a whole number", "a number", "true or false"} and isinstance(value, str):
        return f"{hint}, without quotes" if _reads_as(value, expected) else hint
    if expected == "a list" and value is not None:
        return f"{hint}: start each item with '- '"
    return hint


def _reads_as(text: str, expected: str) -> bool:
    if expected == "true or false":
        return text.lower() in {"true", "false"}
    return text.lstrip("+-").replace(".", "", 1 if expected == "a number" else 0).isdigit()


def _choice(value: object, expected: str) -> str:
    words = expected.replace("'", "").replace(" or ", ", ").split(", ")
    close = difflib.get_close_matches(str(value).lower(), [word.lower() for word in words], n=1)
    meant = next((word for word in words if close and word.lower() == close[0]), None)
    listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    return f"{listed}; did you mean {meant}?" if meant and len(words) > 1 else listed


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return (
            "the text"
            f" {json.dumps(value if len(value) <= 60 else value[:57] + '...', ensure_ascii=False)}"
        )
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
