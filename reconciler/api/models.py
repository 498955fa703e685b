"""The one place where a manifest's local models are looked into: whether a folder holds a model,
and whether vLLM takes the length that the document asks for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.api.documents import InferenceService
from reconciler.api.loaded import Loaded
from reconciler.api.problems import Problem
from reconciler.api.regular_files import read_regular
from serving.preflight import model_fault

CONFIG_BYTES = 4 * 2**20
LENGTH = "max-model-len"
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
_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"


def model_problems(loaded: Loaded) -> Iterator[Problem]:
    """A model folder that holds no model, and a context that is longer than the model's."""
    if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
        return
    spec = loaded.document.spec
    assert spec.model is not None
    folder = loaded.folder(spec.model.source)
    if folder is None or not os.path.isdir(folder):  # noqa: PTH112
        return  # what is missing, or cannot be looked at, is told elsewhere
    if fault := model_fault(folder):
        # A fault that says by itself what to do needs no other hint.
        hint = "" if ";" in fault else "name a folder as save_pretrained writes it"
        yield loaded.problem(("spec", "model", "source"), fault, hint)
        return
    asked = spec.engine.args.get(LENGTH)
    longest = longest_context(folder)
    longer = any(each.name == _LONGER and each.value not in (None, "", "0") for each in spec.env)
    if isinstance(asked, int) and longest is not None and asked > longest and not longer:
        yield loaded.problem(
            ("spec", "engine", "args", LENGTH),
            f"the model has a context of {longest} tokens, and vLLM does not start with {asked}",
            f"write {longest} or less, or leave it out",
        )


def longest_context(folder: Path) -> int | None:
    """The most that vLLM takes as max-model-len; None where the configuration does not say."""
    try:
        config = json.loads(read_regular(folder / "config.json", CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    inner = config.get("text_config")
    found = [
        _scaled(each, each.get("rope_scaling") or each.get("rope_parameters"))
        for each in (config, inner)
        if isinstance(each, dict)
    ]
    return max((each for each in found if each is not None), default=None)


def _scaled(config: Mapping[str, Any], scaling: object) -> int | None:
    """The longest of the lengths, with the factor by which the positions are stretched. Rather too
    long: a length that vLLM takes must not be refused.
    """
    lengths = [
        value
        for key in _LENGTHS
        if isinstance(value := config.get(key), int) and not isinstance(value, bool) and value > 0
    ]
    factor = scaling.get("factor") if isinstance(scaling, dict) else None
    stretched = float(factor) if isinstance(factor, int | float) and factor > 1 else 1.0
    return int(max(lengths) * stretched) if lengths else None
