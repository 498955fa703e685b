"""Headers of safetensors files, which somebody else wrote."""

import json

import pytest

from serving.inspection.json_files import FileFault
from serving.inspection.weights import read_header


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [1]},
        7,
    ],
    ids=["size", "negative", "type", "gap", "no offsets", "no object"],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, entry):
    """A header is believed only when shapes, offsets and file agree."""
    text = json.dumps({"x": entry}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    with pytest.raises(FileFault):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"x": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"x": {"dtype": "F32", "shape": [' + b"9" * 4000 + b'], "data_offsets": [0, 4]}}',
        b'{"x": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}',
        b"\xff\xfe",
    ],
    ids=["brackets", "deep", "type", "digits", "text", "bytes"],
)
def test_headers_that_attack_the_reader_are_refused(tmp_path, header):
    """Depth, huge numbers and wrong types end in the one error there is."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(FileFault):
        read_header(path)
