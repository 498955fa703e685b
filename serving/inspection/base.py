"""The facts that preflight needs of a base model's folder: its architecture, its modules and their
widths.

Widths are exact if the weights show them. If the weights are elsewhere or quantised, widths that
vLLM computes in the usual way come from the configuration, and the others stay unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from serving.inspection.architecture import Architecture, architecture, template
from serving.inspection.json_files import FileFault, read_object
from serving.inspection.weights import Tensor, read_header

Shape = tuple[int, int]  # (outputs, inputs)
_FILES = 2000
# 8-bit floats lie in a matrix as the real ones do; integers are packed
_PLAIN = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_ENDINGS = (".weight", ".qweight", ".weight_packed")


@dataclass(frozen=True)
class Base:
    """`found` are the modules that the weights hold, as vLLM names them, with their shape where it
    is plain; empty when there are no weights here. `text` is the language model's configuration.
    """

    kind: Architecture
    layers: int | None = None
    found: Mapping[str, Shape | None] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)

    def shape(self, module: str) -> Shape | None:
        """The shape of a module (as vLLM names it), or None when it cannot be known."""
        shape = self.found.get(module)
        if shape is None and module.endswith("lm_head"):
            shape = self._embedding  # tied
        if shape is None and template(module) in self.kind.plain:
            shape = self._projections.get(module.rpartition(".")[2])
        return shape

    @property
    def experts(self) -> int | None:
        """How many experts each layer has, where the configuration says so."""
        named = (self.text.get(key) for key in _EXPERTS)
        return next((one for one in named if isinstance(one, int) and one > 0), None)

    def lacks(self, module: str) -> bool:
        """Whether the weights show that the module does not exist, although other modules of its
        kind do.
        """
        if not self.found or module in self.found or module.endswith("lm_head"):
            return False
        return template(module) in self._templates

    @cached_property
    def _templates(self) -> frozenset[str]:
        return frozenset(map(template, self.found))

    @cached_property
    def _embedding(self) -> Shape | None:
        return next((s for name, s in self.found.items() if name.endswith("embed_tokens")), None)

    @cached_property
    def _projections(self) -> dict[str, Shape]:
        return _projections(self.text)


def read_base(folder: Path) -> Base:
    """Read config.json and, where there are any, the headers of the weights; a few milliseconds
    even for large models.

    Raises OSError or FileFault when the folder is not a model folder.
    """
    config = _config(folder)
    kind = _kind(config)
    text = config.get("text_config")
    text = text if isinstance(text, dict) else config
    layers = text.get("num_hidden_layers")
    return Base(
        kind=kind,
        layers=layers if isinstance(layers, int) else None,
        found=_modules(folder, kind),
        text=text,
    )


def read_kind(folder: Path) -> Architecture:
    """The architecture alone; raises as `read_base`."""
    return _kind(_config(folder))


def _config(folder: Path) -> dict[str, Any]:
    return read_object(folder / "config.json", 64 << 20)


def _kind(config: Mapping[str, Any]) -> Architecture:
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else ""
    return architecture(name if isinstance(name, str) else "")


def _modules(folder: Path, kind: Architecture) -> dict[str, Shape | None]:
    found: dict[str, Shape | None] = {}
    files = sorted(folder.glob("*.safetensors"))
    if len(files) > _FILES:
        raise FileFault(f"the base model has more than {_FILES} files of weights")
    for file in files:
        for stored, tensor in read_header(file).items():
            name = kind.loaded(stored)
            ending = next((one for one in _ENDINGS if name.endswith(one)), None)
            if ending:
                found[kind.module(name.removesuffix(ending))] = _shape(ending, tensor)
    return found


def _shape(ending: str, tensor: Tensor) -> Shape | None:
    if ending != ".weight" or tensor.dtype not in _PLAIN or len(tensor.shape) != 2:
        return None
    return tensor.shape[0], tensor.shape[1]


def _projections(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The widths that a configuration implies for the usual attention and MLP."""

    def number(key: str, otherwise: int = 0) -> int:
        value = config.get(key)
        return value if isinstance(value, int) and value > 0 else otherwise

    hidden, middle = number("hidden_size"), number("intermediate_size")
    heads = number("num_attention_heads")
    # A configuration of another shape: to guess widths would refuse good adapters.
    if not (hidden and middle and heads):
        return {}
    width = number("head_dim", hidden // heads)
    queries, keys = heads * width, number("num_key_value_heads", heads) * width
    return {
        "q_proj": (queries, hidden),
        "k_proj": (keys, hidden),
        "v_proj": (keys, hidden),
        "o_proj": (hidden, queries),
        "gate_proj": (middle, hidden),
        "up_proj": (middle, hidden),
        "down_proj": (hidden, middle),
    }


def expert_of(module: str) -> int | None:
    """Which expert a module is a part of."""
    match = re.search(r"\.experts\.(\d{1,9})\.", f".{module}.")
    return int(match[1]) if match else None


def layer_of(module: str) -> int | None:
    """The layer a module of the language model is in."""
    match = re.search(r"\.layers\.(\d{1,9})\.", f".{module}.")
    return int(match[1]) if match else None
