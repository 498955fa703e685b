"""The 16-bit float type in which vLLM computes a service's adapters, by vLLM's own rule, as far as
the document and the model's configuration here tell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.api.documents import InferenceService
from reconciler.api.half_floats import Half
from reconciler.api.loaded import Loaded
from serving.inspection.json_files import FileFault, read_object

_WORDS: Mapping[str, Half] = {"half": "float16", "float16": "float16", "bfloat16": "bfloat16"}
# vLLM 0.32 computes these in another type where their configuration says float16.
_NEVER_FLOAT16 = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
# GPUs without bfloat16: vLLM takes float16 there, unless the document says a type.
_WITHOUT_BFLOAT16 = frozenset({"Consumption-GPU-NC8as-T4"})


@dataclass(frozen=True)
class EngineType:
    """`said` is whether the document says it; else the model's configuration does, and the GPU
    has a say.
    """

    half: Half
    said: bool = True

    def on(self, profile_type: str) -> bool:
        """Whether a GPU of this workload profile computes in it."""
        return self.said or self.half != "bfloat16" or profile_type not in _WITHOUT_BFLOAT16


def engine_type(loaded: Loaded) -> EngineType | None:
    """None where it has 32 bits, or is not known."""
    service = loaded.document
    if not isinstance(service, InferenceService) or service.spec.model is None:
        return None
    args = service.spec.engine.args if service.spec.engine else {}
    for flag in ("lora-dtype", "dtype"):
        word = str(args.get(flag, "auto")).lower()
        if word != "auto":
            return EngineType(_WORDS[word]) if word in _WORDS else None
    return _of_model(loaded, service.spec.model.source)


def _of_model(loaded: Loaded, source: str) -> EngineType | None:
    folder = loaded.folder(source)
    try:
        config = read_object(folder / "config.json", 64 << 20) if folder else {}
    except (FileFault, OSError):
        return None
    word = next((one for one in _types(config) if isinstance(one, str)), "")
    half = _WORDS.get(word.removeprefix("torch."))
    if half is None or (half == "float16" and config.get("model_type") in _NEVER_FLOAT16):
        return None
    return EngineType(half, said=False)


def _types(config: Mapping[str, Any]) -> list[Any]:
    """In vLLM's order: the model's own, then those of its parts."""
    parts = [config, *(config.get(name) for name in ("text_config", "vision_config"))]
    return [
        part.get(name)
        for part in parts
        if isinstance(part, Mapping)
        for name in ("dtype", "torch_dtype")
    ]
