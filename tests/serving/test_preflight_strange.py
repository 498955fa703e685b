"""What preflight refuses of files that no trainer writes so: strange numbers, texts and names."""

import math
from pathlib import Path

import pytest

from serving.preflight import check_adapter
from tests.serving.test_preflight import _config, _edit, _rename, adapter, model

__all__ = ["adapter", "model"]  # fixtures


def _encoded(encoding: str):
    """The configuration as an editor of Windows saves it."""

    def damage(folder: Path):
        path = folder / "adapter_config.json"
        path.write_bytes(path.read_text().encode(encoding))

    return damage


REFUSED = [
    ("an alpha that is none", {"alpha_pattern": {"q_proj": math.nan}}, None, "no valid number"),
    ("an alpha beyond floats", {"alpha_pattern": {"q_proj": 10**400}}, None, "no valid number"),
    ("a scale beyond floats", {"lora_alpha": 1e308}, None, "lora_alpha"),
    ("a byte order mark", {}, _encoded("utf-8-sig"), "without a byte order mark"),
    ("UTF-16", {}, _encoded("utf-16"), "without a byte order mark"),
    (
        "a name that a terminal obeys",
        {},
        _edit(_rename("q_proj", "q\x1b[31m\nproj")),
        "a name that no module has, 'base_model.model.model.layers.0.self_attn.q\\x1b[31m",
    ),
    (
        "weights in several files",
        {},
        lambda f: (f / "adapter_model.safetensors").rename(
            f / "adapter_model-00001-of-2.safetensors"
        ),
        "lie in several files",
    ),
]


@pytest.mark.parametrize(
    ("changes", "damage", "sentence"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_strange_files_are_refused_with_one_clear_line(adapter, model, changes, damage, sentence):
    """VLLM would end on them, or answer rubbish; no sentence breaks a line or reaches a terminal."""
    folder = adapter()
    _config(folder, **changes)
    if damage:
        damage(folder)
    said = " ".join(check_adapter(folder, model, 16).problems)
    assert sentence in said
    assert said.isprintable()
