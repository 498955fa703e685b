"""Families of models times ways of training, which test_lora_cases.py has judged by preflight and
by vLLM's own LoRA manager: what decides here is how the modules of a family are named, and where.

Runs where the suite runs (torch, transformers, peft).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model

from tests.serving.lora_matrix import HEADS, SMALL

_H = SMALL | HEADS
_TWO = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_SHARED = {"shared_expert_intermediate_size": 96}
_ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_state": 16, "mamba_n_groups": 1}
_EYES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
_GEMMA = _H | _TWO | {"query_pre_attn_scalar": 32}
_MROPE = {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 6, 6]}}


def _sees(text: str, eyes: str = "clip_vision_model", **options: Any) -> dict[str, Any]:
    vision = {"model_type": eyes} | _EYES | options.pop("vision", {})
    return {
        "text_config": {"model_type": text} | _H,
        "vision_config": vision,
        "image_token_index": 250,
    } | options


# The stem of transformers' classes, and what its configuration is made with.
LANGUAGE: dict[str, dict[str, Any]] = {
    "Gemma3": _GEMMA,
    "Nemotron": _H,
    "SmolLM3": _H | {"no_rope_layers": [1, 0]},
    "Arcee": _H,
    "Cohere2": _H | _TWO,
    "Exaone4": _H | _TWO,
    "Glm": _H,
    "Helium": _H,
    "Persimmon": SMALL,
    "Ernie4_5": _H,
    "Falcon": {k: SMALL[k] for k in ("vocab_size", "hidden_size", "num_hidden_layers")}
    | {"num_attention_heads": 4},
    "Olmoe": SMALL | _MOE,
    "Mixtral": _H | _LOCAL,
    "Phimoe": _H | _LOCAL,
    "GptOss": _H | _LOCAL | _TWO,
    "GraniteMoe": SMALL | _LOCAL,
    "Qwen2Moe": SMALL | _MOE | _SHARED,
    "Qwen3Moe": _H | _MOE,
    "Glm4Moe": _H | _ROUTED,
    "Ernie4_5_Moe": SMALL | {"moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1},
    "GraniteMoeHybrid": SMALL
    | _LOCAL
    | _MAMBA
    | {"layer_types": ["mamba", "attention"], "mamba_d_head": 64, "shared_intermediate_size": 96},
    "Jamba": SMALL | {"num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "FalconH1": _H | _MAMBA | {"mamba_d_ssm": 128, "mamba_d_head": 32},
    "Qwen3Next": _H
    | _MOE
    | _SHARED
    | {"layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2}
    | {"linear_num_value_heads": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 32},
}
SEEING: dict[str, dict[str, Any]] = {
    "Gemma3": {"text_config": _GEMMA, "vision_config": _EYES, "image_token_index": 250}
    | {"mm_tokens_per_image": 4, "boi_token_index": 251, "eoi_token_index": 252},
    "Llava": _sees("llama"),
    "LlavaNext": _sees("llama", image_grid_pinpoints=[[56, 56]]),
    "Mistral3": _sees("mistral", "pixtral", vision={"head_dim": 32}),
    "Idefics3": _sees("llama", "idefics3_vision"),
    "PaliGemma": _sees("gemma", "siglip_vision_model", projection_dim=128),
    "Qwen2VL": {
        "text_config": SMALL | _MROPE,
        "vision_config": {"depth": 2, "embed_dim": 64, "hidden_size": 128, "num_heads": 2},
    },
    "Qwen3VL": {
        "text_config": _H | _MROPE,
        "vision_config": {"depth": 2, "hidden_size": 64, "intermediate_size": 96}
        | {"num_heads": 2, "out_hidden_size": 128, "deepstack_visual_indexes": [0]},
    },
}
FAMILIES = {
    **{f"{stem}ForCausalLM": (stem, options) for stem, options in LANGUAGE.items()},
    **{f"{stem}ForConditionalGeneration": (stem, options) for stem, options in SEEING.items()},
}
_NOT_LANGUAGE = ("visual", "vision", "projector", "connector", "merger")


def make(out: Path) -> dict[str, str]:
    """`out`/bases/<family>, and an adapter in `out`/<family> <way>; the family of each adapter."""
    made = {}
    with warnings.catch_warnings():  # of odd choices, the point here
        warnings.simplefilter("ignore")
        for family in FAMILIES:
            model = _build(family)
            model.save_pretrained(out / "bases" / family)
            for way, options in _ways(model):
                torch.manual_seed(2)
                config = LoraConfig(r=8, lora_alpha=16, init_lora_weights=False, **options)
                with suppress(ValueError):  # what peft refuses nobody has
                    peft = get_peft_model(_build(family), config)
                    peft.save_pretrained(out / f"{family} {way}")
                    made[f"{family} {way}"] = family
    return made


def _build(family: str) -> Any:
    torch.manual_seed(1)
    stem, options = FAMILIES[family]
    config = "Gemma3TextConfig" if family == "Gemma3ForCausalLM" else f"{stem}Config"
    return getattr(transformers, family)(getattr(transformers, config)(**options)).eval()


def _ways(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every sort of linear module alone, and the usual ways of choosing several."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    for leaf in sorted({name.rpartition(".")[2] for name in linear if "." in name}):
        yield f"on {leaf}", {"target_modules": [leaf]}
    spoken = [one for one in linear if not any(part in one for part in _NOT_LANGUAGE)]
    language = r"(.*\.)?(" + "|".join(one.replace(".", r"\.") for one in spoken) + ")"
    yield "on all", {"target_modules": "all-linear"}
    yield "on language", {"target_modules": language}
    yield "but routers", {"target_modules": "all-linear", "exclude_modules": ".*(gate|router).*"}
    patterns = {"rank_pattern": {r"layers\.0\..*": 4}, "alpha_pattern": {"q_proj": 7}}
    yield "patterns", {"target_modules": language, "use_rslora": True} | patterns
    yield "dora", {"target_modules": language, "use_dora": True}
    for what, module in (("head", head), ("embedding", embedding)):
        name = next(name for name, one in model.named_modules() if one is module)
        yield f"{what} too", {"target_modules": [name.rpartition(".")[2], "o_proj"]}
        yield f"whole {what}", {"target_modules": language, "modules_to_save": [name]}
