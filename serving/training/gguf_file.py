"""Reading a GGUF file: its metadata and its tensors, one at a time, as float32.

The `gguf` package's own reader takes six seconds for a 49k vocabulary; this one 0.2 s. Its
dequantisation is used as it is.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from serving.training.errors import TrainingError

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor lies in the file; `shape` is in torch's order (rows first)."""

    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int


class GgufFile:
    """An open GGUF file: `metadata` by key, `tensors` by name. A context manager, because it maps
    the file.
    """

    def __init__(self, path: Path) -> None:
        """Raise TrainingError when the file is not GGUF version 2 or 3 or is cut short."""
        self._position = 0
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._read_header()
        except (struct.error, ValueError, IndexError) as error:
            raise TrainingError(f"{path}: not a readable GGUF file: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._map.close()

    def read(self, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """One tensor, dequantised to float32; shape as in `tensors[name].shape`."""
        tensor = self.tensors[name]
        block, width = GGML_QUANT_SIZES[tensor.kind]
        size = int(np.prod(tensor.shape)) // block * width
        raw = np.frombuffer(self._map[tensor.offset : tensor.offset + size], dtype=np.uint8)
        if tensor.kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            plain = raw.view(np.float32 if tensor.kind == GGMLQuantizationType.F32 else np.float16)
            return plain.reshape(tensor.shape).astype(np.float32)
        rows = raw.reshape(*tensor.shape[:-1], tensor.shape[-1] // block * width)
        values: np.ndarray[Any, np.dtype[np.float32]] = dequantize(rows, tensor.kind).reshape(
            tensor.shape
        )
        return values

    def _read_header(self) -> None:
        if self._map[:4] != b"GGUF":
            raise ValueError("it does not start with GGUF")
        self._position = 4
        version, tensors, pairs = self._unpack("IQQ")
        if version not in (2, 3):
            raise ValueError(f"version {version}, known are 2 and 3")
        self.metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._string()
            self.metadata[key] = self._value(self._unpack("I")[0])
        table = [self._tensor_entry() for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        start = -(-self._position // alignment) * alignment
        self.tensors = {
            name: GgufTensor(shape, kind, start + offset) for name, shape, kind, offset in table
        }

    def _tensor_entry(self) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
        name = self._string()
        dimensions = self._unpack(f"{self._unpack('I')[0]}Q")
        kind, offset = self._unpack("IQ")
        return name, tuple(reversed(dimensions)), GGMLQuantizationType(kind), offset

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            element, count = self._unpack("IQ")
            if element in SCALARS:
                return list(self._unpack(f"{count}{SCALARS[element]}"))
            return [self._value(element) for _ in range(count)]
        if kind not in SCALARS:
            raise ValueError(f"unknown metadata type {kind}")
        return self._unpack(SCALARS[kind])[0]

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        self._position += length
        return self._map[self._position - length : self._position].decode("utf-8")

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._map, self._position)
        self._position += struct.calcsize("<" + layout)
        return values
