"""Tensors of the tiny model without any library: random rows, and the safetensors format."""

from __future__ import annotations

import json
import random
import struct
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Tensor = tuple[tuple[int, ...], "array[float]"]


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write float32 tensors, each a shape and its flat values, in the safetensors format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, values) in tensors.items():
        size = len(values) * 4
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            values.tofile(file)


def gaussian(rng: random.Random, shape: tuple[int, int], length: float) -> Tensor:
    """Gaussian rows of about the given length."""
    rows, columns = shape
    scale = length / columns**0.5
    return shape, array("f", [rng.gauss(0.0, scale) for _ in range(rows * columns)])


def filled(shape: tuple[int, ...], value: float) -> Tensor:
    return shape, array("f", [value]) * shape[0]
