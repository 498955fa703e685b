"""The one place where a manifest's local models are looked into: whether a folder holds a model
that vLLM serves, and whether vLLM takes the length that the document asks for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.api.context_lengths import length_asked, longest_context
from reconciler.api.documents import InferenceService
from reconciler.api.loaded import Loaded
from reconciler.api.problems import Problem
from reconciler.api.regular_files import read_regular
from reconciler.api.service import InferenceServiceSpec
from serving.preflight import model_fault, no_longer_served, weights_fault

CONFIG_BYTES = 4 * 2**20
LENGTH = "max-model-len"
_LONGER = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
_SOURCE = ("spec", "model", "source")
_HINT = "name a folder as save_pretrained writes it"


def model_problems(loaded: Loaded) -> Iterator[Problem]:
    """A model folder that holds no model, or one that vLLM does not serve, and a context that is
    longer than the model's.
    """
    if not isinstance(loaded.document, InferenceService) or loaded.document.spec.model is None:
        return
    spec = loaded.document.spec
    assert spec.model is not None
    folder = loaded.folder(spec.model.source)
    if folder is None or not os.path.isdir(folder):  # noqa: PTH112 - it never raises
        return  # what is missing, or cannot be looked at, is told elsewhere
    args = spec.engine.args
    # Without a load format vLLM looks for the weights itself; `dummy`, for one, reads none.
    fault = model_fault(folder) or ("" if "load-format" in args else weights_fault(folder))
    if fault:
        # A fault that says by itself what to do needs no other hint.
        yield loaded.problem(_SOURCE, fault, "" if ";" in fault else _HINT)
        return
    config = _config(folder)
    if why := _not_served(config, args):
        yield loaded.problem(_SOURCE, why)
        return
    yield from _too_long(loaded, spec, config)


def _not_served(config: Mapping[str, Any], args: Mapping[str, Any]) -> str:
    """Why vLLM serves no model of this architecture; empty where it does, or where code of the
    model's own or a flag decides.
    """
    own = bool(config.get("auto_map")) and bool(args.get("trust-remote-code"))
    if own or {"model-impl", "hf-overrides"} & args.keys():
        return ""
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else ""
    return no_longer_served(name) if isinstance(name, str) else ""


def _too_long(
    loaded: Loaded, spec: InferenceServiceSpec, config: Mapping[str, Any]
) -> Iterator[Problem]:
    args = spec.engine.args
    if "hf-overrides" in args:
        return  # vLLM then starts with another configuration than the folder's
    asked, longest = length_asked(args.get(LENGTH)), longest_context(config)
    longer = any(each.name == _LONGER and each.value not in (None, "", "0") for each in spec.env)
    if asked is not None and longest is not None and asked > longest and not longer:
        yield loaded.problem(
            ("spec", "engine", "args", LENGTH),
            f"the model has a context of {longest} tokens, and vLLM does not start with {asked}",
            f"write {longest} or less, or leave it out",
        )


def _config(folder: Path) -> Mapping[str, Any]:
    """The model's configuration; empty where it cannot be read, which the replica will say."""
    try:
        config = json.loads(read_regular(folder / "config.json", CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
