"""JSON objects of an adapter or a model, read within untrusted.py's bounds, with sentences that
name the file. Used by preflight's modules on both sides.
"""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from serving.untrusted import SMALL, UntrustedError, parse, read

# Of one file: an adapter for every expert of a large model has 60,000 tensors, with a dozen values
# each.
_VALUES = 2 << 20
_LARGEST = 3.4e38
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LFS = b"version https://git-lfs"


class FileFault(UntrustedError):
    """The file is not what it should be; the text is one sentence for a person."""


def read_object(path: Path, limit: int = SMALL) -> dict[str, Any]:
    """The JSON object in a file. Raises FileFault for what is none, OSError as usual."""
    try:
        data = read(path, limit)
    except UntrustedError as error:
        raise FileFault(f"{path.name} cannot be used: {error}") from None
    if is_pointer(data):
        raise FileFault(pointer_fault(path.name))
    # Python accepts these encodings here, but vLLM and transformers read text and would crash.
    if data.startswith(_BOMS) or json.detect_encoding(data) != "utf-8":
        raise FileFault(
            f"{path.name} is not plain UTF-8, which vLLM needs: save it as UTF-8 without a byte"
            " order mark"
        )
    return parse_object(data, path.name)


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`; `name` is what to call it. Raises FileFault."""
    try:
        found = parse(data, len(data), _VALUES)
    except UntrustedError as error:
        raise FileFault(f"{name} {str(error).removeprefix('it ')}") from None
    if not isinstance(found, dict):
        raise FileFault(f"{name} is not a JSON object")
    return found


def is_number(value: object) -> bool:
    """Whether the engine can compute with it: a number, within 32-bit floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST  # and so no NaN


def is_pointer(data: bytes) -> bool:
    """Whether these are the first bytes of a Git LFS pointer."""
    return data.startswith(_LFS)


def pointer_fault(name: str) -> str:
    return (
        f"{name} is a Git LFS pointer and not the file itself; run `git lfs pull` where it was"
        " cloned"
    )
