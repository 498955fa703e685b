"""Adapters as peft, trainers and converters leave them, made small: what test_lora_cases.py has
judged by preflight and by vLLM's own LoRA manager.

Runs where the suite runs (torch, transformers, peft).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tests.serving.lora_matrix import HEADS, SMALL

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_EXPERT_PARAMETERS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
_VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_heads": 2,
    "out_hidden_size": 128,
    "fullatt_block_indexes": [1],
    "window_size": 56,
}
_MROPE = {"rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]}}
# transformers' class, its configuration class, and what that is made with
BASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", SMALL | HEADS),
    "tied": ("LlamaForCausalLM", "LlamaConfig", SMALL | HEADS | {"tie_word_embeddings": True}),
    "classifier": ("Qwen2ForSequenceClassification", "Qwen2Config", SMALL | {"num_labels": 3}),
    "embedder": ("Qwen3Model", "Qwen3Config", SMALL | HEADS),
    "backend": ("HeliumForCausalLM", "HeliumConfig", SMALL | HEADS),
    "mistral": ("MistralForCausalLM", "MistralConfig", SMALL | HEADS),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", SMALL | HEADS | {"num_local_experts": 4}),
    "qwen3moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", SMALL | HEADS | _MOE),
    "vision": (
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2_5_VLConfig",
        {"text_config": SMALL | _MROPE, "vision_config": _VISION},
    ),
}


@dataclass(frozen=True)
class Case:
    """An adapter of `base`: peft's options; then its configuration, its tensors' names and the
    tensors themselves change.
    """

    base: str = "llama"
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    names: tuple[str, str] | None = None
    tensors: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    saved: Mapping[str, Any] = field(default_factory=dict)


def _written(**config: Any) -> Case:
    return Case(config=config)


def _named(old: str, new: str, base: str = "llama", **options: Any) -> Case:
    return Case(base, options, names=(old, new))


def _experts(layer: str, names: str, middle: int, count: int = 4) -> Any:
    """LoRA on single experts, the last of `names` the one that goes down."""
    leaves = names.split()

    def add(tensors: dict[str, Any]) -> dict[str, Any]:
        made = dict(tensors)
        for expert in range(count):
            for leaf in leaves:
                down = leaf in ("down_proj", "w2")
                inputs, outputs = (middle, 128) if down else (128, middle)
                name = f"base_model.model.model.layers.0.{layer}.{expert}.{leaf}"
                made[f"{name}.lora_A.weight"] = torch.randn(8, inputs)
                made[f"{name}.lora_B.weight"] = torch.randn(outputs, 8)
        return made

    return add


_LANGUAGE, _OUTSIDE = r".*language_model.*\.(q_proj|v_proj)", r".*visual.*\.(qkv|proj)"
CASES: dict[str, Case] = {
    "whole embedding": Case(options={"modules_to_save": ["embed_tokens"]}),
    "whole norm": Case(options={"modules_to_save": ["norm"]}),
    "tokens": Case(options={"trainable_token_indices": [3, 4]}),
    "one layer": Case(options={"layers_to_transform": [0], "layers_pattern": "layers"}),
    "replication": Case(options={"layer_replication": [[0, 2], [1, 2]]}),
    "excluded": Case(options={"target_modules": "all-linear", "exclude_modules": ["lm_head"]}),
    "a parameter": Case(options={"target_parameters": ["mlp.down_proj.weight"]}),
    **{f"init {one}": _written(init_lora_weights=one) for one in ("eva", "Gaussian", "mica")},
    **{f"init {one}": _written(init_lora_weights=one) for one in ("olora", "PISSA", "loftq")},
    "init pissa_niter_4": _written(init_lora_weights="pissa_niter_4"),
    "tied, both": Case("tied", {"target_modules": ["embed_tokens"], "ensure_weight_tying": True}),
    "embeddings saved": Case(saved={"save_embedding_layers": True}),
    "bias all": Case(options={"bias": "all"}),
    "bias null": _written(bias=None),
    "no bias": Case(without=("bias",)),
    "nulls": _written(use_dora=None, use_rslora=None, rank_pattern=None, alpha_pattern=None),
    "rslora patterns": Case(
        options={"use_rslora": True, "rank_pattern": {"q_proj": 4}, "alpha_pattern": {"k_proj": 9}}
    ),
    "anchored": Case(options={"rank_pattern": {"^model.layers.0.self_attn.q_proj": 4}}),
    "expression": Case(options={"rank_pattern": {r"layers\.1\..*": 4}}),
    "pattern too high": Case(options={"rank_pattern": {"q_proj": 32}}),
    "unused pattern too high": _written(rank_pattern={"nothing": 99}),
    "rank 1": Case(options={"r": 1}),
    "rank 3": Case(options={"r": 3}),
    "rank 17": Case(options={"r": 17}),
    "rank as text": _written(r="8"),
    "rank as float": _written(r=8.0),
    "alpha negative": _written(lora_alpha=-16),
    "alpha as text": _written(lora_alpha="16"),
    "alpha pattern as text": _written(alpha_pattern={"q_proj": "4"}),
    "rank pattern as float": _written(rank_pattern={"q_proj": 8.0}),
    "nothing saved": _written(modules_to_save=[]),
    "saved as text": _written(modules_to_save="score"),
    "no type": Case(without=("peft_type",)),
    "type null": _written(peft_type=None),
    "no targets": Case(without=("target_modules",)),
    "empty targets": _written(target_modules=[]),
    "other targets": _written(target_modules=["c_attn"]),
    "qalora": _written(use_qalora=True),
    "megatron": _written(megatron_config={"x": 1}),
    "named default": _named(".weight", ".default.weight"),
    "data parallel": _named("base_model.model.", "base_model.model.module."),
    "fsdp": _named("base_model.model.", "_fsdp_wrapped_module.base_model.model."),
    "checkpointed": _named("layers.0.", "layers.0._checkpoint_wrapped_module."),
    "language model": _named("model.model.", "model.language_model.model."),
    "lower case": _named("lora_A", "lora_a"),
    "down and up": _named("lora_A", "lora_down"),
    "one prefix": _named("base_model.model.", "base_model."),
    "three prefixes": _named("base_model.model.", "base_model.model.base_model.model."),
    "of trl": _named("base_model.model.", "base_model.model.pretrained_model."),
    "half a pair": Case(tensors=lambda t: dict(sorted(t.items())[1:])),
    "a scalar": Case(tensors=lambda t: t | {"base_model.model.alpha": torch.tensor(16.0)}),
    "two types": Case(tensors=lambda t: {k: v.half() if "_A" in k else v for k, v in t.items()}),
    "embedder": Case("embedder"),
    "embedder, prefixed": _named("base_model.model.", "base_model.model.model.", "embedder"),
    "backend head": Case("backend", {"target_modules": ["q_proj", "lm_head"]}),
    "backend embedding": Case("backend", {"target_modules": ["q_proj", "embed_tokens"]}),
    "mistral head": Case("mistral", {"target_modules": ["q_proj", "lm_head"]}),
    "classifier, no head": Case("classifier"),
    "mixtral attention": Case("mixtral"),
    "mixtral parameters": Case("mixtral", {"target_parameters": _EXPERT_PARAMETERS}),
    "mixtral w": Case("mixtral", tensors=_experts("block_sparse_moe.experts", "w1 w3 w2", 192)),
    "mixtral mlp w": Case("mixtral", tensors=_experts("mlp.experts", "w1 w3 w2", 192)),
    "experts": Case("qwen3moe", tensors=_experts("mlp.experts", "gate_proj up_proj down_proj", 64)),
    "experts, not all": Case(
        "qwen3moe", tensors=_experts("mlp.experts", "gate_proj up_proj down_proj", 64, 2)
    ),
    "expert parameters": Case("qwen3moe", {"target_parameters": _EXPERT_PARAMETERS}),
    "vision, language": Case("vision", {"target_modules": _LANGUAGE}),
    "vision, images": Case("vision", {"target_modules": _OUTSIDE}),
    "vision, old names": _named("model.language_model.layers", "model.layers", "vision"),
}


def make(out: Path) -> None:
    """`out`/bases/<base>, and the adapter of each case in `out`/<case>."""
    with warnings.catch_warnings():  # of odd choices, the point here
        warnings.simplefilter("ignore")
        for name in BASES:
            _build(name).save_pretrained(out / "bases" / name)
        for name, case in CASES.items():
            _save(case, out / name)


def _build(base: str) -> Any:
    torch.manual_seed(1)
    cls, config, options = BASES[base]
    return getattr(transformers, cls)(getattr(transformers, config)(**options)).eval()


def _save(case: Case, folder: Path) -> None:
    torch.manual_seed(2)
    options = {"r": 8, "lora_alpha": 16, "init_lora_weights": False, "target_modules": ATTENTION}
    peft = get_peft_model(_build(case.base), LoraConfig(**(options | dict(case.options))))
    peft.save_pretrained(folder, **case.saved)
    path, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    tensors = load_file(path)
    if case.names:
        tensors = {name.replace(*case.names): value for name, value in tensors.items()}
    if case.tensors:
        tensors = case.tensors(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    written = {k: v for k, v in json.loads(config.read_text()).items() if k not in case.without}
    config.write_text(json.dumps(written | dict(case.config)))
