"""A seeded fuzzer of documents: whatever is saved, it is read soon, as documents or as problems with
a place in the file. `make test` runs a slice.
"""

import random
import time
from pathlib import Path

import pytest

from reconciler.api.manifest import load
from reconciler.api.problems import ManifestError

EXAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "examples").glob("*.yaml"))
SECONDS = 5.0
PIECES = [
    "&a [*a, *a]", "*a", "!!python/object:os.system x", "!!binary =", "!!set {a, b}", "<<: *a", "? :",
    "[" * 300, "{a: " * 300, "- " * 300, "9" * 5000, "1e999", ".nan", "0x_", "0o9", "1:2:3", "~",
    "2026-11-29", "2026-99-99", "\x00", "\x1b[2J", "\ud7ff", "\u2028", "\ufeff", "\t", "\r", '"', "'",
    "|", ">", "%YAML 9.9\n---\n", "---\n", "...\n", "#", "x" * 70_000, "{}", "[]", "null", "true", "-1",
    "${x}", "share://../..", "hf://", "share://models/\n", "./\n", "../../../../etc/passwd", "\\",
]  # fmt: skip


def _changed(text, dice):
    for _ in range(dice.randint(1, 4)):
        lines = text.split("\n")
        at = dice.randrange(len(lines))
        kind = dice.random()
        if kind < 0.15:
            del lines[at]
        elif kind < 0.3:
            lines[at:at] = lines[dice.randrange(len(lines)) :][: dice.randint(1, 6)]
        elif kind < 0.45:
            lines[at] = " " * dice.randint(0, 6) + lines[at]
        elif kind < 0.75 and ":" in lines[at]:
            lines[at] = lines[at].partition(":")[0] + ": " + dice.choice(PIECES)
        else:
            column = dice.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:column] + dice.choice(PIECES) + lines[at][column:]
        text = "\n".join(lines)
    return text


def _problems(path):
    try:
        load([path])
    except ManifestError as error:
        return error.problems or pytest.fail("refused without a problem")
    return ()


@pytest.mark.timeout(900)
def test_every_save_is_read_or_refused_with_a_place(tmp_path, request):
    """The examples, changed in any way, as text and as bytes."""
    tries = 3_000 if request.config.getoption("-m") != "not slow" else 300
    path = tmp_path / "m.yaml"
    texts = [example.read_text() for example in EXAMPLES]
    for seed in range(tries):
        dice = random.Random(seed)
        data = _changed(dice.choice(texts), dice).encode()
        if dice.random() < 0.1:
            at = dice.randrange(len(data))
            data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        path.write_bytes(data)
        began = time.monotonic()
        for problem in _problems(path):
            assert problem.line >= 1 <= problem.column, (seed, problem)
            assert problem.message, seed
        assert time.monotonic() - began < SECONDS, seed


@pytest.mark.parametrize("levels", [9, 30])
def test_aliases_that_multiply_are_refused(tmp_path, levels):
    """Nine lines that stand for a billion values take no memory."""
    path = tmp_path / "m.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    path.write_text("\n".join(lines))
    began = time.monotonic()
    with pytest.raises(ManifestError):
        load([path])
    assert time.monotonic() - began < SECONDS
