"""Says what a folder is if it is no adapter, and where the adapter may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLES = ("adapter_model.bin", "adapter_model.pt")
_MLX = "adapters.safetensors"
_MODELS = ("model*.safetensors", "pytorch_model*.bin", "*.gguf")
_ENTRIES = 1000  # entries read of a folder, which may hold any number


def no_configuration(folder: Path) -> str:
    """Why a folder without adapter_config.json is no adapter, in one sentence."""
    checkpoints = sorted(_below(folder, "checkpoint-"), key=_step)
    if checkpoints:
        return (
            f"{folder.name} holds only a trainer's checkpoints; name one of them, such as"
            f" {folder.name}/{checkpoints[-1].name}"
        )
    if named := list(_below(folder, "")):
        return (
            f"the adapter lies in a folder below {folder.name}, as peft saves one that has a name;"
            f" name {folder.name}/{named[0].name}"
        )
    if (folder / "config.json").is_file() or any(_any(folder, one) for one in _MODELS):
        return (
            f"{folder.name} is a whole model and not an adapter; serve it as spec.model.source of a"
            " service of its own"
        )
    return f"{folder.name} has no {CONFIG}, so it is not a PEFT adapter"


def no_weights(folder: Path) -> str:
    """Why a folder with a configuration and without adapter_model.safetensors cannot be served."""
    if (folder / _MLX).is_file():
        return (
            f"it is an MLX adapter ({_MLX}), which vLLM cannot read: convert it to PEFT's format,"
            " or fuse it into the model with mlx_lm.fuse and serve that"
        )
    if any((folder / name).exists() for name in _PICKLES):
        return (
            "its weights are a pickle, which can run code when read; save them as safetensors"
            " instead"
        )
    if _any(folder, "adapter_model-*.safetensors"):
        return (
            f"its weights lie in several files, and vLLM reads {WEIGHTS} alone: load it"
            " with PEFT and save it again"
        )
    if any(_any(folder, one) for one in _MODELS):
        return (
            f"{folder.name} holds a whole model's weights and no {WEIGHTS}: it is a model, or one"
            " that the adapter was merged into; serve it as spec.model.source"
        )
    return f"{folder.name} has no {WEIGHTS}"


def no_model(folder: Path) -> str:
    """Why a folder without config.json is no base model."""
    if (folder / CONFIG).is_file():
        return f"{folder} is an adapter and not a model; name it under spec.adapters"
    told = f"{folder} is no model folder: it has no config.json"
    if not folder.is_dir():
        return told
    if checkpoints := sorted(_below(folder, "checkpoint-", "config.json"), key=_step):
        return (
            f"{folder} holds only a trainer's checkpoints; name one of them, such as"
            f" {folder.name}/{checkpoints[-1].name}"
        )
    if _any(folder, "*.gguf"):
        return (
            f"{told}, and holds a model in llama.cpp's format (GGUF); name the folder that it was"
            " made from"
        )
    if any(_any(folder, one) for one in _MODELS):
        return f"{told}, only weights; copy the other files of the model as well"
    if (folder / "tokenizer_config.json").is_file():
        return f"{told}, only a tokenizer; copy the other files of the model as well"
    return told


def _below(folder: Path, start: str, holding: str = CONFIG) -> Iterator[Path]:
    for count, path in enumerate(folder.iterdir()):
        if count > _ENTRIES:
            return
        if path.name.startswith(start) and (path / holding).is_file():
            yield path


def _any(folder: Path, pattern: str) -> bool:
    return any(True for _ in folder.glob(pattern))


def _step(path: Path) -> int:
    match = re.search(r"-(\d{1,12})$", path.name)
    return int(match[1]) if match else 0
