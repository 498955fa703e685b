"""How many tokens a model's context may have, by vLLM's own rule over its config.json. Pure;
`models` reads the file and asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.api.fields import Fault

# The keys by which vLLM finds the longest context of a model in its configuration.
_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_TEXT = ("text_config", "language_config", "llm_config", "thinker_config")
# RoPE types whose configuration gives the length after the stretching; the factor is in it already.
_STRETCHED = ("su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")
_UNITS = {
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}
# Only a decimal unit takes a decimal number.
_TEXTUAL = re.compile(
    r"(\d{1,18}(?=[kmgtKMGT]?$)|\d{1,18}\.\d{1,6}(?=[kmgt]$))([kmgtKMGT]?)", re.ASCII
)
_OF_ITS_OWN = ("auto", "-1")
_TALLEST = 8  # levels of nested configurations


def longest_context(config: Mapping[str, Any]) -> int | None:
    """The most that vLLM takes as max-model-len; None where the configuration does not say."""
    text = _text_config(config)
    if not _lengths(text):
        text = config
    lengths = _lengths(text)
    if not lengths:
        return None
    # vLLM takes the smallest, but model_max_length goes before all others.
    told = lengths.get("model_max_length") or min(lengths.values())
    return max(int(told * _factor(text)), _lengths(config).get("model_max_length", 0))


def length_asked(value: object) -> int | None:
    """What vLLM reads in a value of max-model-len, such as 4096, 16k or 25.6k; None for none and
    for one that it chooses itself (auto, -1).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    match = _TEXTUAL.fullmatch(value.strip()) if isinstance(value, str) else None
    return int(float(match[1]) * _UNITS.get(match[2], 1)) if match else None


def length_fault(value: object) -> Fault | None:
    """Why vLLM cannot start with this value of max-model-len; None where it can, or where only the
    model says it.
    """
    if isinstance(value, int) and value == -1:
        return None
    if isinstance(value, str) and value.strip().lower() in _OF_ITS_OWN:
        return None
    if (length_asked(value) or 0) >= 1:
        return None
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    hint = "write a number of tokens such as 8192, 16k for 16000 or 16K for 16384, or auto"
    return Fault(f"max-model-len cannot be {shown}", hint, ("max-model-len",))


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the language model, which may lie inside that of a larger one."""
    for _ in range(_TALLEST):
        inner = next((config[key] for key in _TEXT if isinstance(config.get(key), dict)), None)
        if inner is None:
            break
        config = inner
    return config


def _lengths(config: Mapping[str, Any]) -> dict[str, int]:
    return {
        key: value
        for key in _LENGTHS
        if isinstance(value := config.get(key), int) and not isinstance(value, bool) and value > 0
    }


def _factor(config: Mapping[str, Any]) -> float:
    """By how much RoPE stretches the length that the configuration gives."""
    if "gemma3" in str(config.get("model_type")):
        return 1.0
    return max((1.0, *_factors(config.get("rope_scaling") or config.get("rope_parameters"))))


def _factors(scaling: object) -> Iterator[float]:
    if not isinstance(scaling, dict):
        return
    for each in (scaling, *(one for one in scaling.values() if isinstance(one, dict))):
        kind, factor = each.get("rope_type") or each.get("type"), each.get("factor")
        if kind not in _STRETCHED and isinstance(factor, int | float) and factor < 10**6:
            yield float(factor)
