"""Rewrites an adapter's weights in a 16-bit float type, bit for bit as torch casts them: to the
nearest value, ties to even.

Needs the standard library alone: bfloat16 is integer arithmetic on whole slices, float16 is
`struct`'s. See infra/decisions/2026-11-29-adapter-float-types.md. Used by sources.converted and,
for notes, by api.adapters.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from serving.inspection.weights import Tensor, is_finite, read_header

Half = Literal["bfloat16", "float16"]
_NAMES: Mapping[Half, str] = {"bfloat16": "BF16", "float16": "F16"}
_WIDE = {"F32": 4, "F64": 8}
# bytes: a slice holds Python's lock for less than a millisecond, so that no loop waits for it
_SLICE = 1 << 16


class OverflowsError(ValueError):
    """A value is too large for the type; the text is the tensor's name."""


class ChangedError(ValueError):
    """The file no longer has the hash that was given."""


def is_wide(tensors: Mapping[str, Tensor]) -> bool:
    """Whether 32-bit or 64-bit floats are among the tensors."""
    return any(tensor.dtype in _WIDE for tensor in tensors.values())


def half_size(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the tensors if their floats had 16 bits."""
    return sum(
        (tensor.end - tensor.start) * 2 // _WIDE.get(tensor.dtype, 2) for tensor in tensors.values()
    )


def overflowing(path: Path, half: Half) -> str | None:
    """The first tensor with a value that is too large for the type."""
    with path.open("rb") as source:
        for name, tensor in read_header(path).items():
            source.seek(tensor.start)
            try:
                for _ in _slices(source, name, tensor, half):
                    pass
            except OverflowsError:
                return name
    return None


def convert(path: Path, target: Path, half: Half, sha256: str) -> None:
    """Write the safetensors file `path`, whose hash is `sha256`, to `target` with 16-bit floats.

    Raises:
        OverflowsError: a value does not fit; ChangedError: the file is another one.
        FileFault, OSError: it cannot be read or written.
    """
    ordered = sorted(read_header(path).items(), key=lambda item: (item[1].start, item[1].end))
    with path.open("rb") as source, target.open("wb") as out:
        hashed = hashlib.sha256(source.read(ordered[0][1].start if ordered else -1))
        out.write(_header(dict(ordered), half))
        for name, tensor in ordered:
            for taken, given in _slices(source, name, tensor, half):
                hashed.update(taken)
                out.write(given)
    if hashed.hexdigest() != sha256:
        raise ChangedError(f"{path.name} changed while it was read")


def _header(tensors: Mapping[str, Tensor], half: Half) -> bytes:
    described: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, tensor in tensors.items():
        size = half_size({name: tensor})
        described[name] = {
            "dtype": _NAMES[half] if tensor.dtype in _WIDE else tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the data begins where every type may
    return len(text).to_bytes(8, "little") + text


def _slices(
    source: BinaryIO, name: str, tensor: Tensor, half: Half
) -> Iterator[tuple[bytes, bytes]]:
    """The tensor from where the file stands, slice by slice, as it is and as it becomes."""
    left = tensor.end - tensor.start
    while left > 0:
        taken = source.read(min(_SLICE, left))
        if len(taken) != min(_SLICE, left):
            raise ChangedError(f"{source.name} became shorter while it was read")
        left -= len(taken)
        try:
            yield taken, _half(taken, tensor.dtype, half)
        except OverflowError:
            raise OverflowsError(name) from None


def _half(values: bytes, dtype: str, half: Half) -> bytes:
    """Raises OverflowError where a value does not fit, or is no number."""
    if dtype not in _WIDE:
        return values
    if dtype == "F64":  # torch, too, goes by way of 32 bits
        count = len(values) // 8
        values = struct.pack(f"<{count}f", *struct.unpack(f"<{count}d", values))
    if not is_finite("F32", values):
        raise OverflowError
    count = len(values) // 4
    if half == "float16":
        return struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", values))
    odd, almost = _constants(count)
    # All values at once, each in its 32 bits of one large integer. No finite value carries into its
    # neighbour.
    bits = int.from_bytes(values, "little")
    rounded = (bits + almost + ((bits >> 16) & odd)).to_bytes(len(values), "little")
    found = bytearray(2 * count)
    found[0::2], found[1::2] = rounded[2::4], rounded[3::4]
    if not is_finite("BF16", found):
        raise OverflowError
    return bytes(found)


@lru_cache(maxsize=4)
def _constants(count: int) -> tuple[int, int]:
    """1 and 0x7fff in each of `count` values of 32 bits."""
    return (
        int.from_bytes(b"\x01\0\0\0" * count, "little"),
        int.from_bytes(b"\xff\x7f\0\0" * count, "little"),
    )
