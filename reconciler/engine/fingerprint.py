"""A digest of specs that says whether two are equal, across processes too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretStr


def fingerprint(*values: Any) -> str:
    """A short digest; equal values have equal digests in every process. Fields declared
    `compare=False` do not count.
    """
    text = json.dumps(
        [_plain(value) for value in values], sort_keys=True, separators=(",", ":"), default=repr
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return [
            type(value).__name__,
            # A field that does not compare, such as a place in a file, does not make it another
            # thing.
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
        # A set has no order: as it comes, its fingerprint would differ after each start.
        return sorted(json.dumps(_plain(item), sort_keys=True, default=repr) for item in value)
    if isinstance(value, PurePath):
        return str(value)
    return value
