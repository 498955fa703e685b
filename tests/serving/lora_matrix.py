"""Makes the matrix of test_lora_matrix.py: tiny random bases, adapters as peft saves them, and what
peft itself computes with each.

Runs where the suite runs (torch, transformers, peft); lora_engine.py asks vLLM the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
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
_MOE = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
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
_LLAMA_LIKE = (("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj"))


@dataclass(frozen=True)
class Architecture:
    """A transformers class stem, its configuration, and the modules people train."""

    stem: str
    config: Mapping[str, Any] = field(default_factory=lambda: SMALL)
    attention: tuple[str, ...] = _LLAMA_LIKE[0]
    mlp: tuple[str, ...] = _LLAMA_LIKE[1]

    def build(self) -> Any:
        torch.manual_seed(1)
        config = getattr(transformers, f"{self.stem}Config")(**self.config)
        name = f"{self.stem}LMHeadModel" if self.stem == "GPT2" else f"{self.stem}ForCausalLM"
        return getattr(transformers, name)(config).eval()


HEADS = {"head_dim": 32}
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
    "gpt2": Architecture("GPT2", _GPT2, ("c_attn",), ("c_fc",)),
    "qwen3moe": Architecture("Qwen3Moe", SMALL | HEADS | _MOE),
    "qwen2moe": Architecture("Qwen2Moe", SMALL | _MOE | {"shared_expert_intermediate_size": 96}),
    "mixtral": Architecture("Mixtral", SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2}),
}

Tensors = dict[str, Any]
Change = Callable[[Tensors], Tensors]


@dataclass(frozen=True)
class Variant:
    """How an adapter is trained and what happens to its folder afterwards.

    `reference` is False where peft cannot load what was changed: then only the base is compared.
    """

    targets: Callable[[Architecture], Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Change | None = None
    saved: Mapping[str, Any] = field(default_factory=dict)
    reference: bool = True


def _attention(one: Architecture) -> Any:
    return list(one.attention)


def _all(one: Architecture) -> Any:
    return [*one.attention, *one.mlp]


def _with(name: str) -> Callable[[Architecture], Any]:
    return lambda one: [*one.attention, name]


def _renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


def _cast(kind: Any) -> Change:
    return lambda tensors: {name: value.to(kind) for name, value in tensors.items()}


def _scaled(by: float) -> Change:
    return lambda tensors: {
        name: value * by if "lora_B" in name else value for name, value in tensors.items()
    }


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
    "bfloat16": Variant(_attention, tensors=_cast(torch.bfloat16)),
    "float-alpha": Variant(_attention, {"lora_alpha": 16.5}),
    "float-alpha-whole": Variant(_attention, {"lora_alpha": 16.0}),
    "alpha-one": Variant(_attention, {"lora_alpha": 1}),
    "float-pattern": Variant(_attention, {"alpha_pattern": {"layers.0": 16.5}}),
    "zero": Variant(_attention, tensors=_scaled(0.0)),
    "short-names": Variant(
        _attention,
        tensors=_renamed("base_model.model.model.", "base_model.model."),
        reference=False,
    ),
    "compiled": Variant(
        _attention,
        tensors=_renamed("base_model.model.", "base_model.model._orig_mod."),
        reference=False,
    ),
    "no-prefix": Variant(_attention, tensors=_renamed("base_model.model.", ""), reference=False),
}


def make(out: Path, name: str, variants: list[str]) -> dict[str, Any]:
    """The base in `out`/base, adapters in `out`/<variant>; what peft computes with each, by
    variant. A variant that peft itself refuses is None.
    """
    architecture = ARCHITECTURES[name]
    model = architecture.build()
    model.save_pretrained(out / "base")
    found: dict[str, Any] = {"base": _log_probabilities(model)}
    for each in variants:
        try:
            found[each] = _made(architecture, VARIANTS[each], out / each)
        except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            shutil.rmtree(out / each, ignore_errors=True)
            found[each] = None
            print(f"{name} {each}: peft refuses: {str(error)[:120]}")
    return found


def _made(architecture: Architecture, variant: Variant, folder: Path) -> Any:
    torch.manual_seed(2)
    options = {"r": 8, "lora_alpha": 16, "init_lora_weights": False} | dict(variant.options)
    config = LoraConfig(
        task_type="CAUSAL_LM", target_modules=variant.targets(architecture), **options
    )
    peft = get_peft_model(architecture.build(), config).eval()
    for parameter_name, parameter in peft.named_parameters():
        if parameter_name.endswith(".bias") and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    peft.save_pretrained(folder, **variant.saved)
    if variant.tensors:
        path = folder / "adapter_model.safetensors"
        save_file(variant.tensors(load_file(path)), path, metadata={"format": "pt"})
        if variant.reference:
            state = {
                key.replace(".weight", ".default.weight"): value.float()
                for key, value in load_file(path).items()
            }
            assert not peft.load_state_dict(state, strict=False).unexpected_keys
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(variant.config)))
    return _log_probabilities(peft) if variant.reference else []


@torch.no_grad()
def _log_probabilities(model: Any) -> list[list[float]]:
    """Of every token after each prompt."""
    found = []
    for prompt in PROMPTS:
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        found.append(torch.log_softmax(logits.float(), -1).tolist())
    return found
