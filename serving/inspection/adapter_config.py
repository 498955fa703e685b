"""What an adapter's adapter_config.json says, judged by vLLM's rules (PEFTHelper): features that it
does not have, and values of a wrong type.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from serving.inspection.json_files import is_number

CONFIG = "adapter_config.json"
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
_FORBIDDEN = {
    "use_dora": "it is a DoRA adapter; vLLM loads plain LoRA only",
    "lora_bias": "it was trained with lora_bias, which vLLM does not support",
    "alora_invocation_tokens": "it is an activated LoRA (aLoRA), which vLLM does not support",
    "layer_replication": "it replicates layers (layer_replication), which vLLM does not support",
    "use_bdlora": "it is a block-diagonal LoRA, which vLLM does not support",
    "use_qalora": "it is a QALoRA adapter, which vLLM does not support",
    "trainable_token_indices": (
        "it trains single tokens of the embedding (trainable_token_indices), which vLLM does not"
        " support"
    ),
}


def judge_config(config: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each thing that vLLM refuses, or would serve wrong."""
    kind = config.get("peft_type")
    if kind is None:  # vLLM never reads it
        kind = "LORA"
    if not (isinstance(kind, str) and kind.upper() == "LORA"):
        yield f"its peft_type is {shown(kind)}; only LORA adapters can be served"
        return
    yield from (sentence for key, sentence in _FORBIDDEN.items() if config.get(key))
    if (bias := config.get("bias", "none")) != "none":
        yield f"it was trained with bias={shown(bias)}; vLLM supports bias='none' only"
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in _PLAIN_INITS:
        yield (
            f"init_lora_weights={shown(init)} changes the base model's weights; convert it to a"
            " plain LoRA with PEFT first (path_initial_model_for_weight_conversion)"
        )
    yield from _modules(config)
    rank, alpha = _whole(config.get("r")), config.get("lora_alpha")
    if rank is None or rank <= 0:
        yield f"{CONFIG} has no positive 'r'"
    if not is_number(alpha) or not alpha:
        yield f"{CONFIG} has no 'lora_alpha' that is a number other than zero"


def ranks_of(config: Mapping[str, Any]) -> list[int]:
    """Every rank that the configuration names, sensible or not, as whole numbers."""
    pattern = config.get("rank_pattern")
    found = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    return [rank for rank in map(_whole, found) if rank is not None]


def shown(value: object) -> str:
    """A value that somebody else wrote, short enough for a sentence and harmless to a terminal."""
    if isinstance(value, str):
        return ascii(value[:80])
    if value is None or (isinstance(value, int | float) and not _enormous(value)):
        return str(value)
    return "a very large number" if isinstance(value, int) else f"a {type(value).__name__}"


def _whole(value: Any) -> int | None:
    """VLLM takes a rank of 8.0 as well; whether the tensors have it is looked at with them."""
    # True is an int in Python, and a rank of 1 to everybody who only compares.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return math.ceil(value) if is_number(value) else None


def _modules(config: Mapping[str, Any]) -> Iterator[str]:
    saved: Any = config.get("modules_to_save") or ()
    if not isinstance(saved, list | tuple) or not all(isinstance(one, str) for one in saved):
        yield f"modules_to_save in {CONFIG} is no list of names"
        saved = ()
    if saved := [one for one in saved if one not in {"classifier", "score"}]:
        names = ", ".join(shown(one).strip("'") for one in saved[:5])
        yield f"it replaces whole modules (modules_to_save: {names}), which vLLM cannot load"
    targets: Any = config.get("target_modules")
    listed = isinstance(targets, list) and all(isinstance(one, str) for one in targets)
    if "target_modules" not in config:
        yield f"{CONFIG} does not name its target_modules"
    elif not (listed or targets is None or isinstance(targets, str)):
        yield f"target_modules in {CONFIG} is neither a list of names nor a pattern"


def _enormous(value: float) -> bool:
    return isinstance(value, int) and abs(value) > 10**15
