"""Makes the matrix of test_lora_matrix.py: tiny random bases, adapters as peft saves them, and what
peft itself computes with each.

Runs where the suite runs (torch, transformers, peft); lora_engine.py asks vLLM the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

PROMPTS = ([1, 17, 40, 99, 23, 8, 61], [1, 200, 3, 77, 150])
SMALL: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.12,
}
_OPT = {
    key: value
    for key, value in SMALL.items()
    if key not in ("intermediate_size", "num_key_value_heads", "initializer_range")
} | {"ffn_dim": 192, "word_embed_proj_dim": 128, "init_std": 0.12}
_GPT2 = {
    "vocab_size": 256,
    "n_embd": 128,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.12,
}
_NEOX = {
    "vocab_size": 256,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "initializer_range": 0.12,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_NEOX_MLP = ("dense_h_to_4h", "dense_4h_to_h")
_LLAMA_LIKE = (("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj"))


@dataclass(frozen=True)
class Architecture:
    """A transformers class stem, its configuration, and the modules people train."""

    stem: str
    config: Mapping[str, Any] = field(default_factory=lambda: SMALL)
    attention: tuple[str, ...] = _LLAMA_LIKE[0]
    mlp: tuple[str, ...] = _LLAMA_LIKE[1]
    held: str = ""  # a module whose bare layer something else in vLLM holds as well

    def build(self) -> Any:
        torch.manual_seed(1)
        config = getattr(transformers, f"{self.stem}Config")(**self.config)
        name = f"{self.stem}LMHeadModel" if self.stem == "GPT2" else f"{self.stem}ForCausalLM"
        return getattr(transformers, name)(config).eval()


HEADS = {"head_dim": 32}
_MLA = {
    "kv_lora_rank": 512,  # with the rope's 64 the only width that vLLM has kernels for
    "q_lora_rank": 48,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "num_key_value_heads": 4,
    "first_k_dense_replace": 2,  # no experts, whose kernels the CPU image lacks
    "n_routed_experts": 4,
}
ARCHITECTURES = {
    "llama": Architecture("Llama", SMALL | HEADS | {"tie_word_embeddings": False}),
    "llama-tied": Architecture("Llama", SMALL | HEADS | {"tie_word_embeddings": True}),
    "qwen2": Architecture("Qwen2", SMALL | {"tie_word_embeddings": True}),
    "phi3": Architecture("Phi3", SMALL, ("qkv_proj", "o_proj"), ("gate_up_proj", "down_proj")),
    "gemma2": Architecture("Gemma2", SMALL | HEADS | {"query_pre_attn_scalar": 32}),
    "opt": Architecture("OPT", _OPT, ("q_proj", "k_proj", "v_proj", "out_proj"), ("fc1", "fc2")),
    "mistral": Architecture("Mistral", SMALL | HEADS),
    "qwen3": Architecture("Qwen3", SMALL | HEADS),
    "olmo2": Architecture("Olmo2"),
    "granite": Architecture("Granite"),
    "starcoder2": Architecture("Starcoder2", SMALL, _LLAMA_LIKE[0], ("c_fc", "c_proj")),
    "stablelm": Architecture("StableLm"),
    "deepseek2": Architecture(
        "DeepseekV2", SMALL | _MLA, ("q_a_proj", "q_b_proj", "o_proj"), held="kv_b_proj"
    ),
    "gptneox": Architecture("GPTNeoX", _NEOX, ("query_key_value", "dense"), _NEOX_MLP),
    "glm4": Architecture("Glm4", SMALL | HEADS, _LLAMA_LIKE[0], ("gate_up_proj", "down_proj")),
    "cohere": Architecture("Cohere"),
    "phi": Architecture("Phi", SMALL, ("q_proj", "k_proj", "v_proj", "dense"), ("fc1", "fc2")),
    "gpt2": Architecture("GPT2", _GPT2, ("c_attn",), ("c_fc",)),
}


@dataclass(frozen=True)
class Variant:
    """How an adapter is trained and saved; then its tensors' names change, or their values, which
    peft is asked with.
    """

    targets: Callable[[Architecture], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, Any] = field(default_factory=dict)
    names: Callable[[str], str] | None = None
    values: Callable[[str, Any], Any] | None = None


def _attention(one: Architecture) -> Any:
    return list(one.attention)


def _all(one: Architecture) -> Any:
    return [*one.attention, *one.mlp]


def _with(name: str) -> Callable[[Architecture], Any]:
    return lambda one: [*one.attention, name]


def _renamed(old: str, new: str) -> Callable[[str], str]:
    return lambda name: name.replace(old, new)


VARIANTS = {
    "attention": Variant(_attention),
    "all": Variant(_all),
    "all-linear": Variant(lambda _: "all-linear"),
    "lm-head": Variant(_with("lm_head")),
    "lm-head-alone-saved": Variant(_with("lm_head"), saved={"save_embedding_layers": False}),
    "embed-tokens": Variant(_with("embed_tokens")),
    "rslora": Variant(_attention, {"use_rslora": True}),
    "patterns": Variant(
        lambda one: list(one.attention[:2]),
        {"rank_pattern": {"layers.1": 4}, "alpha_pattern": {"layers.0": 3}},
    ),
    "one-layer": Variant(_attention, {"layers_to_transform": [1]}),
    "dora": Variant(_attention, {"use_dora": True}),
    "bias": Variant(_attention, {"bias": "lora_only"}),
    "lora-bias": Variant(_attention, {"lora_bias": True}),
    "whole-head": Variant(_attention, {"modules_to_save": ["lm_head"]}),
    "bfloat16": Variant(_attention, values=lambda _, value: value.to(torch.bfloat16)),
    "float-alpha": Variant(_attention, {"lora_alpha": 16.5}),
    "float-pattern": Variant(_attention, {"alpha_pattern": {"layers.0": 16.5}}),
    "zero": Variant(_attention, values=lambda name, value: value * ("lora_B" not in name)),
    "short-names": Variant(
        _attention, names=_renamed("base_model.model.model.", "base_model.model.")
    ),
    "compiled": Variant(
        _attention, names=_renamed("base_model.model.", "base_model.model._orig_mod.")
    ),
    "second-holder": Variant(lambda one: [one.held or one.attention[0]]),
    "no-prefix": Variant(_attention, names=_renamed("base_model.model.", "")),
}


def make(out: Path, name: str, variants: Iterable[str]) -> dict[str, Any]:
    """The base in `out`/base, adapters in `out`/<variant>; what peft computes with each, by
    variant, and without any, as "base".
    """
    architecture = ARCHITECTURES[name]
    model = architecture.build()
    model.save_pretrained(out / "base")
    with warnings.catch_warnings():  # of embedding layers and tied weights, the point here
        warnings.simplefilter("ignore")
        made = {each: _made(architecture, VARIANTS[each], out / each) for each in variants}
    return {"base": _log_probabilities(model), **made}


def _made(architecture: Architecture, variant: Variant, folder: Path) -> list[list[float]]:
    torch.manual_seed(2)
    options = {"r": 8, "lora_alpha": 16, "init_lora_weights": False} | dict(variant.options)
    targets = variant.targets(architecture)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=targets, **options)
    peft = get_peft_model(architecture.build(), config).eval()
    peft.save_pretrained(folder, **variant.saved)
    path = folder / "adapter_model.safetensors"
    if variant.values:
        tensors = {name: variant.values(name, value) for name, value in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
        peft.load_adapter(folder, "changed")
        peft.set_adapter("changed")
    if variant.names:
        tensors = {variant.names(name): value for name, value in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    return _log_probabilities(peft)


@torch.no_grad()
def _log_probabilities(model: Any) -> list[list[float]]:
    """Of every token after each prompt."""
    found = []
    for prompt in PROMPTS:
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        found.append(torch.log_softmax(logits.float(), -1).tolist())
    return found
