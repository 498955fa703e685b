"""max-model-len is read as vLLM reads it, whose own function is asked where its image is here."""

import argparse
import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.context_lengths import length_asked, length_fault

VLLM = next(
    (Path(__file__).parents[2] / ".venv/images/vllm/lib").glob("python3.*/site-packages/vllm"),
    Path(),
)
CASES = [4096, 1, 0, -1, -2, True, 8192.0, 1e3, "4096", "auto", "AUTO", " -1 ", "-2", "0", "16k"]
CASES += [
    "16K",
    "25.6k",
    "4.5K",
    "4.0K",
    "1T",
    "2g",
    "1.5M",
    "32 k",
    "many",
    "",
    "1e3",
    "k",
    "8192.0",
]


@pytest.fixture(scope="module")
def vllm():
    """What vLLM makes of the text of an argument: a number, or None for an error."""
    file = VLLM / "utils" / "argparse_utils.py"
    if not file.exists():
        pytest.skip("vLLM's image is not installed")
    wanted = ("human_readable_int", "human_readable_int_or_auto")
    found = [
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name in wanted
    ]
    scope = {"re": re, "argparse": argparse}
    exec(compile(ast.Module(found, []), str(file), "exec"), scope)

    def read(value):
        try:
            number = scope[wanted[1]](str(value))
        except (ValueError, argparse.ArgumentTypeError):
            return None
        return number if number == -1 or number >= 1 else None  # ModelConfig refuses the others

    return read


def _agree(vllm, value):
    expected = vllm(value)
    assert (length_fault(value) is None) == (expected is not None), value
    if expected not in (None, -1):
        assert length_asked(value) == expected


@pytest.mark.parametrize("value", CASES, ids=repr)
def test_what_vllm_does_not_read_is_refused_at_the_save(vllm, value):
    """And nothing that it reads."""
    _agree(vllm, value)


@given(st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,3})?[kmgtKMGTx]?", fullmatch=True))
def test_any_text_is_read_as_vllm_reads_it(vllm, text):
    """Numbers with and without a decimal part and a unit."""
    _agree(vllm, text)


def test_the_refusal_names_what_would_be_right():
    """Numbers, both kinds of units, and auto."""
    fault = length_fault("32 k")
    assert fault is not None
    for form in ("8192", "16k", "16K", "auto"):
        assert form in fault.hint
