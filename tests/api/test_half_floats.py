"""An adapter's floats of 32 bits become floats of 16 bits, as torch casts them."""

import hashlib
import os
import struct
from array import array

import pytest
import torch
from safetensors.torch import load_file, save_file

from reconciler.api import half_floats
from reconciler.api.half_floats import ChangedError, OverflowsError, convert, half_size, overflowing
from serving.inspection.weights import read_header

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def converted(tmp_path, tensors, half):
    source, target = tmp_path / "source", tmp_path / "target"
    save_file(tensors, source, metadata={"format": "pt"})
    convert(source, target, half, hashlib.sha256(source.read_bytes()).hexdigest())
    return source, target


@pytest.mark.parametrize("half", TYPES)
def test_every_kind_of_value_becomes_what_torch_makes_of_it(tmp_path, half):
    """Ties, subnormals, both zeros and values of every exponent are the same bit for bit."""
    generator = torch.Generator().manual_seed(1)
    bits = torch.randint(-(2**31), 2**31, (70_001,), generator=generator, dtype=torch.int64)
    values = bits.to(torch.int32).view(torch.float32)
    # every tie between two values of 16 bits, and its neighbours
    ties = (torch.arange(0x8000) * 0x10000 + 0x8000).to(torch.int32)
    ties = torch.cat([ties - 1, ties, ties + 1]).view(torch.float32)
    values = torch.cat([values, ties, -ties, torch.tensor([0.0, -0.0, 1e-45, -1e-45])])
    most = torch.finfo(TYPES[half]).max
    values = values[values.isfinite() & (values.abs() <= most)]
    tensors = {
        "wide": values,
        "double": values.to(torch.float64),
        "matrix": values[:600].reshape(20, 30).clone(),
        "narrow": values[:99].to(torch.bfloat16),
        "empty": torch.zeros(0, 4),
    }
    source, target = converted(tmp_path, tensors, half)
    found = load_file(target)
    for name in ("wide", "double", "matrix"):
        assert found[name].dtype == TYPES[half]
        assert torch.equal(
            found[name].view(torch.int16), tensors[name].to(TYPES[half]).view(torch.int16)
        )
    assert found["narrow"].dtype == torch.bfloat16
    written = read_header(target)
    assert written.keys() == read_header(source).keys()
    assert sum(one.end - one.start for one in written.values()) == half_size(read_header(source))


@pytest.mark.parametrize(
    ("half", "value", "fits"),
    [
        ("float16", 65519.0, True),
        ("float16", 65520.0, False),  # half of the way to a value that there is not
        ("float16", -70000.0, False),
        ("bfloat16", 3.39e38, True),
        ("bfloat16", 3.4e38, False),
        ("bfloat16", float("nan"), False),
        ("bfloat16", struct.unpack("<f", b"\xff\xff\xff\xff")[0], False),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_nothing_is_converted(tmp_path, half, value, fits):
    """What would become infinity is found wherever it lies, and so is what is no number."""
    tensors = {"first": torch.ones(3), "last": torch.ones(40_000)}
    tensors["last"][33_333] = value
    save_file(tensors, tmp_path / "f", metadata={"format": "pt"})
    assert overflowing(tmp_path / "f", half) == (None if fits else "last")
    if not fits:
        with pytest.raises(OverflowsError, match="last"):
            converted(tmp_path, tensors, half)


def test_a_file_that_changed_since_it_was_hashed_is_not_taken(tmp_path):
    """A version is named by the digest of its source, so it must be made of that source."""
    save_file({"a": torch.ones(9)}, tmp_path / "f")
    with pytest.raises(ChangedError):
        convert(tmp_path / "f", tmp_path / "g", "bfloat16", "0" * 64)


def test_one_slice_does_not_keep_other_threads_waiting():
    """The daemon's loop runs beside: one slice takes a small part of Python's 5 ms switch."""
    values = array("f", [1.5]) * (half_floats._SLICE // 4)
    assert len(half_floats._half(values.tobytes(), "F32", "bfloat16")) == half_floats._SLICE // 2
    took = os.times().user
    for _ in range(200):
        half_floats._half(values.tobytes(), "F32", "bfloat16")
        half_floats._half(values.tobytes(), "F32", "float16")
    assert (os.times().user - took) / 400 < 0.005
