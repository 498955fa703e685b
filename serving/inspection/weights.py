"""Reads safetensors headers and looks for values that are not finite, with the standard library
alone.

Used by preflight on both sides; the format is the one at https://huggingface.co/docs/safetensors (8
bytes of length, JSON, data), whose rules this module enforces so that a torn or hostile file is
refused before an engine opens it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from serving.inspection.json_files import FileFault, is_pointer, parse_object, pointer_fault

HEADER_LIMIT = 32 << 20  # bytes; a mixture of 128 experts in 90 layers has some 14 million
_BITS = {
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "I32": 32,
    "I16": 16,
    "I8": 8,
    "U64": 64,
    "U32": 32,
    "U16": 16,
}
_BITS |= {"U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "C64": 64}
_CHUNK = 8 << 20
_HUGE, _DIMENSIONS = 1 << 48, 16


class WeightsError(FileFault):
    """The file is not a well-formed safetensors file; the text is one sentence for a person."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: `shape` in elements, `start` and `end` in bytes from the beginning of
    the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name; no data is read.

    Raises WeightsError when length, JSON, shapes or offsets contradict each other or the file's
    size; OSError as usual.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(24)
        length = int.from_bytes(start[:8], "little")
        if is_pointer(start):
            raise WeightsError(pointer_fault(path.name))
        if size < 8 or length > size - 8:
            raise WeightsError(f"{path.name} is truncated or not a safetensors file")
        # Before it is read, because the length is whatever the file says.
        if length > HEADER_LIMIT:
            raise WeightsError(f"the header of {path.name} is larger than {HEADER_LIMIT >> 20} MiB")
        file.seek(8)
        header = parse_object(file.read(length), f"the header of {path.name}")
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()}
    _check_cover(path, tensors, 8 + length, size)
    return tensors


def not_finite(path: Path, tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a NaN or an infinity, or None."""
    with path.open("rb") as file:
        for name, tensor in tensors.items():
            pattern = _NOT_FINITE.get(tensor.dtype)
            if pattern and any(pattern(chunk) for chunk in _chunks(file, tensor)):
                return name
    return None


def is_finite(dtype: str, values: bytes | bytearray) -> bool:
    """Whether values of a float type, one after the other, are all finite."""
    return not _NOT_FINITE[dtype](bytes(values))


def all_zero(path: Path, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors hold nothing but zeros, of either sign."""
    with path.open("rb") as file:
        return not any(
            chunk.translate(None, b"\0\x80")
            for one in tensors.values()
            for chunk in _chunks(file, one)
        )


def _tensor(path: Path, name: str, entry: Any, data: int) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = [*shape, start, end]
        if not all(isinstance(one, int) and 0 <= one < _HUGE for one in numbers) or start > end:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise WeightsError(
            f"{path.name} describes the tensor {name[:200]} in an invalid way"
        ) from None
    if not isinstance(dtype, str) or dtype not in _BITS or len(shape) > _DIMENSIONS:
        raise WeightsError(f"{path.name} holds the tensor {name[:200]} in an unknown type")
    if math.prod(shape) * _BITS[dtype] != (end - start) * 8:
        raise WeightsError(
            f"{path.name} gives the tensor {name[:200]} a shape that does not fit its bytes"
        )
    return Tensor(dtype, shape, data + start, data + end)


def _check_cover(path: Path, tensors: Mapping[str, Tensor], data: int, size: int) -> None:
    """Tensors must follow each other without gap or overlap and end where the file ends."""
    position = data
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != position:
            raise WeightsError(f"the tensors of {path.name} overlap or leave gaps")
        position = tensor.end
    if position != size:
        word = "truncated" if position > size else "longer than its header says"
        raise WeightsError(f"{path.name} is {word}: {size} bytes, {position} described")


def _chunks(file: BinaryIO, tensor: Tensor) -> Iterator[bytes]:
    file.seek(tensor.start)
    left = tensor.end - tensor.start
    while left > 0:
        chunk = file.read(min(_CHUNK, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


# A float is not finite when all bits of its exponent are one. Slicing out the exponent's bytes and
# searching them as text runs at C speed without numpy, which the reconciler's machine need not
# have.
def _bf16(chunk: bytes) -> bool:
    low = chunk[0::2]
    return any(low[match.start()] & 0x80 for match in re.finditer(rb"[\x7f\xff]", chunk[1::2]))


def _f16(chunk: bytes) -> bool:
    return re.search(rb"[\x7c-\x7f\xfc-\xff]", chunk[1::2]) is not None


def _f32(chunk: bytes) -> bool:
    low = chunk[2::4]
    return any(low[match.start()] & 0x80 for match in re.finditer(rb"[\x7f\xff]", chunk[3::4]))


def _f64(chunk: bytes) -> bool:
    low = chunk[6::8]
    return any(low[match.start()] >= 0xF0 for match in re.finditer(rb"[\x7f\xff]", chunk[7::8]))


_NOT_FINITE = {"BF16": _bf16, "F16": _f16, "F32": _f32, "F64": _f64}
