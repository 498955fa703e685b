"""The real dimensions of a base model, read from its folder for preflight: exact ones from
safetensors headers, otherwise those that its config.json implies for the usual projections.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.weights import read_header


@dataclass(frozen=True)
class Base:
    """`shapes` maps a module's name to (outputs, inputs); `complete` when a module that is not in
    it does not exist.
    """

    layers: int | None = None
    shapes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    by_leaf: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    complete: bool = False

    def shape(self, module: str) -> tuple[int, int] | None:
        """(outputs, inputs) of a module as an adapter names it, or None when unknown."""
        for name in (module, f"model.{module}", module.removeprefix("model.")):
            if name in self.shapes:
                return self.shapes[name]
        return self.by_leaf.get(module.rpartition(".")[2])


def read_base(folder: Path) -> Base:
    """Read config.json and, where there are any, the headers of the weights; a few milliseconds
    even for large models.

    Raises OSError or ValueError when the folder is not a model folder.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    layers = text.get("num_hidden_layers")
    files = sorted(folder.glob("*.safetensors"))
    quantized = "quantization_config" in config or "quantization_config" in text
    if (
        not files or quantized
    ):  # packed weights have shapes of their own; the configuration still tells the widths
        return Base(layers=layers, by_leaf=_projections(text))
    shapes = {
        name.removesuffix(".weight"): (tensor.shape[0], tensor.shape[1])
        for file in files
        for name, tensor in read_header(file).items()
        if name.endswith(".weight") and len(tensor.shape) == 2
    }
    if text.get("tie_word_embeddings") and "model.embed_tokens" in shapes:
        shapes.setdefault("lm_head", shapes["model.embed_tokens"])
    return Base(layers=layers, shapes=shapes, complete=bool(shapes))


def _projections(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    try:
        hidden, middle = int(config["hidden_size"]), int(config["intermediate_size"])
        heads = int(config["num_attention_heads"])
    except (KeyError, TypeError, ValueError):
        return {}
    width = int(config.get("head_dim") or hidden // heads)
    keys = int(config.get("num_key_value_heads") or heads) * width
    queries = heads * width
    return {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
        "gate_proj": (middle, hidden),
        "up_proj": (middle, hidden),
        "down_proj": (hidden, middle),
    }
