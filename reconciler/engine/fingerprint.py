"""Specs as text: a digest that says whether two are equal across processes, and a codec that keeps
them in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretStr, TypeAdapter


def fingerprint(*values: Any) -> str:
    """A short digest; equal values have equal digests in every process. Fields declared
    `compare=False` do not count.
    """
    text = json.dumps(
        [_plain(value) for value in values], sort_keys=True, separators=(",", ":"), default=repr
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class SpecCodec:
    """Keeps specs of the given dataclass types in the store, so that an object whose document
    vanished while the daemon was down can still be deleted. Fields declared `compare=False` are
    left out and need a default.
    """

    def __init__(self, *types: type) -> None:
        self._types: dict[str, Any] = {type_.__name__: type_ for type_ in types}
        self._adapters: dict[str, TypeAdapter[Any]] = {}

    def dump(self, spec: Any) -> str | None:
        """JSON text, or None for a spec of another type."""
        name = type(spec).__name__
        if self._types.get(name) is not type(spec):
            return None
        left_out = {f.name for f in fields(self._types[name]) if not f.compare}
        value = self._adapter(name).dump_python(spec, mode="json", exclude=left_out)
        return json.dumps({"type": name, "spec": value}, separators=(",", ":"))

    def load(self, text: str) -> Any:
        """The spec `dump` wrote, or None when this release cannot read it."""
        try:
            stored = json.loads(text)
            return self._adapter(stored["type"]).validate_python(stored["spec"])
        except (ValueError, KeyError, TypeError):
            return None

    def _adapter(self, name: str) -> TypeAdapter[Any]:
        if name not in self._adapters:
            self._adapters[name] = TypeAdapter(self._types[name])
        return self._adapters[name]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return [
            type(value).__name__,
            {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.compare},
        ]
    if isinstance(value, BaseModel):
        return [
            type(value).__name__,
            {name: _plain(getattr(value, name)) for name in type(value).model_fields},
        ]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_plain(item), sort_keys=True, default=repr) for item in value)
    if isinstance(value, PurePath):
        return str(value)
    return value
