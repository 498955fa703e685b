"""What preflight searches in weights of other types than float32."""

import json

import pytest

from serving.inspection.weights import read_header
from serving.preflight import check_adapter
from tests.tiny_model import make_adapter, make_model


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F64"])
def test_other_float_types_are_searched_for_nan(tmp_path, dtype):
    """The search knows each type's exponent."""
    width, bad, good = {
        "BF16": (2, b"\xc0\x7f", b"\x7f\x7f"),
        "F16": (2, b"\x00\x7e", b"\xff\x7b"),
        "F64": (8, b"\0" * 6 + b"\xf0\x7f", b"\xff" * 6 + b"\xef\x7f"),
    }[dtype]
    model = make_model(tmp_path / "model")
    for value, problem in ((good, False), (bad, True)):
        folder = make_adapter(tmp_path / "adapter", "red", model=model)
        header, data, position = {}, b"", 0
        for name, tensor in read_header(folder / "adapter_model.safetensors").items():
            count = (tensor.end - tensor.start) // 4  # float32
            block = value * count
            header[name] = {
                "dtype": dtype,
                "shape": tensor.shape,
                "data_offsets": [position, position + count * width],
            }
            position += len(block)
            data += block
        text = json.dumps(header).encode()
        (folder / "adapter_model.safetensors").write_bytes(
            len(text).to_bytes(8, "little") + text + data
        )
        assert bool(check_adapter(folder, model, 16).problems) is problem
