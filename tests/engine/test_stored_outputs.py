"""What objects store of a look, against what is held back because its name is a secret's."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

import reconciler.kinds  # noqa: F401 - defines all outputs
from reconciler.api.outputs import Outputs
from reconciler.engine.record import public


def _all(base: type) -> list[type]:
    return [each for one in base.__subclasses__() for each in (one, *_all(one))]


def _texts(schema: Any) -> Iterator[str]:
    """The names of fields that may hold text."""
    if isinstance(schema, dict):
        for name, one in schema.get("properties", {}).items():
            kinds = [one, *one.get("anyOf", ()), one.get("items", {})]
            if any(kind.get("type") == "string" for kind in kinds):
                yield name
    values = schema.values() if isinstance(schema, dict) else schema
    for value in values if isinstance(schema, dict | list) else ():
        yield from _texts(value)


@pytest.mark.parametrize("outputs", _all(Outputs), ids=lambda one: one.__name__)
def test_no_field_is_held_back_as_a_secret(outputs):
    """A text whose name ends like a secret's is dropped when an object is stored; then nothing of
    its outputs could be read again.
    """
    names = set(_texts(TypeAdapter(outputs).json_schema(mode="serialization")))
    assert names == public(dict.fromkeys(names, "text")).keys()
