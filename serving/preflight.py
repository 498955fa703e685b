"""Is this adapter loadable? Pure checks over files, the same in the reconciler's plan and in every
replica.

vLLM answers 200 to adapters of a wrong size, of another base or full of NaN and then serves
garbage, so nothing reaches it unchecked. Neighbours: weights.py reads the files' headers,
adapters.py calls this before each load.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.base import Base, read_base
from serving.weights import Tensor, WeightsError, not_finite, read_header

# The one list of vLLM versions whose internals serving/engine.py was tested against.
SUPPORTED_VLLM = ("0.32.0",)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# bytes: during a change two versions lie side by side on a replica's local disk, which holds 8 GiB
SIZE_LIMIT = 3 << 30
PICKLES = ("adapter_model.bin", "adapter_model.pt")
_KEY = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+?)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.weight)?$"
)
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


@dataclass(frozen=True)
class Findings:
    """What was found: loadable when `problems` is empty. `rank` is the highest any module needs,
    `size` the weights in bytes, `width` the inputs and outputs of all its modules added up.
    """

    problems: tuple[str, ...] = ()
    rank: int = 0
    base_model: str | None = None
    size: int = 0
    target_modules: tuple[str, ...] = ()
    width: int = 0

    def memory(self, max_rank: int) -> int:
        """Bytes of a slot in an engine of this max-lora-rank, which pads every module to it; two
        bytes a value.
        """
        return 2 * max_rank * self.width


def check_adapter(
    folder: Path,
    base: Path | None = None,
    max_rank: int | None = None,
    *,
    base_names: Iterable[str] | None = None,
) -> Findings:
    """Look at a PEFT adapter folder; against the base model's folder and the engine's highest rank
    when they are given.

    `base_names` are the names under which the base is known (folder, hub id); only the side that
    knows them passes them, and then an adapter that says it was trained on something else is
    refused. Never raises for bad content.
    """
    try:
        config = _config(folder)
        tensors = _tensors(folder)
    except (WeightsError, OSError) as error:
        return Findings((str(error),))
    ranks = _ranks(config)
    size = sum(tensor.end - tensor.start for tensor in tensors.values())
    problems = [
        *_links(folder),
        *_features(config),
        *_rank_limits(ranks, max_rank),
        *_base_name(config, base_names),
    ]
    problems += [*_too_large(size), *_pairs(tensors, config, folder)]
    if base is not None and not problems:
        try:
            problems += _against(tensors, read_base(base))
        except (WeightsError, OSError, ValueError) as error:
            problems.append(f"the base model cannot be read: {error}")
    if not problems and (name := not_finite(folder / WEIGHTS, tensors)):
        problems.append(f"the tensor {name} holds values that are not finite (NaN or infinity)")
    return Findings(
        problems=tuple(problems),
        rank=max(ranks, default=0),
        base_model=_text(config.get("base_model_name_or_path")),
        size=size,
        target_modules=tuple(
            sorted({module.rpartition(".")[2] for module, _, _ in map(_split, tensors) if module})
        ),
        width=_width(tensors),
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not folder.is_dir():
        raise WeightsError(f"there is no adapter folder {folder.name}")
    if not path.is_file():
        raise WeightsError(f"{folder.name} has no {CONFIG}, so it is not a PEFT adapter")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{CONFIG} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{CONFIG} is not a JSON object")
    return config


def _tensors(folder: Path) -> dict[str, Tensor]:
    if not (folder / WEIGHTS).is_file():
        if any((folder / name).exists() for name in PICKLES):
            raise WeightsError(
                "its weights are a pickle, which can run code when read; save them as safetensors"
                " instead"
            )
        raise WeightsError(f"{folder.name} has no {WEIGHTS}")
    tensors = read_header(folder / WEIGHTS)
    if not tensors:
        raise WeightsError(f"{WEIGHTS} holds no tensors")
    return tensors


def _too_large(size: int) -> list[str]:
    if size <= SIZE_LIMIT:
        return []
    return [
        f"its weights are {size / 2**30:.1f} GiB; {SIZE_LIMIT >> 30} GiB is the most that a"
        " replica's local disk has room for"
    ]


def _width(tensors: Mapping[str, Tensor]) -> int:
    """A is (rank, inputs) and B is (outputs, rank): what is not the rank is the width."""
    return sum(
        t.shape[1] if _split(key)[1] == "A" else t.shape[0]
        for key, t in tensors.items()
        if len(t.shape) == 2
    )


def _links(folder: Path) -> list[str]:
    return [
        f"{path.relative_to(folder)} is a link; an adapter must hold its files itself"
        for path in folder.rglob("*")
        if path.is_symlink()
    ]


def _features(config: Mapping[str, Any]) -> list[str]:
    if config.get("peft_type") != "LORA":
        return [f"its peft_type is {config.get('peft_type')!r}; only LORA adapters can be served"]
    problems = [sentence for key, sentence in _FORBIDDEN.items() if config.get(key)]
    if config.get("bias", "none") != "none":
        problems.append(
            f"it was trained with bias={config['bias']!r}; vLLM supports bias='none' only"
        )
    init = config.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in _PLAIN_INITS:
        problems.append(
            f"init_lora_weights={init!r} changes the base model's weights; convert it to a plain"
            " LoRA with PEFT first"
        )
    saved = [
        module
        for module in config.get("modules_to_save") or ()
        if module not in {"classifier", "score"}
    ]
    if saved:
        problems.append(
            f"it replaces whole modules (modules_to_save: {', '.join(map(str, saved))}), which vLLM"
            " cannot load"
        )
    problems += [
        f"{CONFIG} has no positive {key!r}"
        for key in ("r", "lora_alpha")
        if not _positive(config.get(key))
    ]
    if not isinstance(config.get("target_modules"), list | str):
        problems.append(f"{CONFIG} does not name its target_modules")
    return problems


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _ranks(config: Mapping[str, Any]) -> list[int]:
    pattern = config.get("rank_pattern") or {}
    found = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    return [rank for rank in found if isinstance(rank, int) and not isinstance(rank, bool)]


def _rank_limits(ranks: list[int], limit: int | None) -> list[str]:
    if limit is not None and ranks and max(ranks) > limit:
        return [f"its rank {max(ranks)} is higher than the engine's max-lora-rank {limit}"]
    return [f"its rank_pattern holds the impossible rank {rank}" for rank in ranks if rank <= 0]


def _base_name(config: Mapping[str, Any], known: Iterable[str] | None) -> list[str]:
    """Compares last path components without case and punctuation: 'org/Phi-3-mini' and
    './models/phi-3-mini' are one.
    """
    name = _text(config.get("base_model_name_or_path"))
    names = {_plain(one) for one in known or ()} - {""}
    if not name or not names or _plain(name) in names:
        return []
    return [
        f"it was trained on {name!r}, but the base model here is"
        f" {' or '.join(sorted(set(known or ())))!r}"
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.partition("@")[0].rstrip("/").rpartition("/")[2].lower())


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _split(key: str) -> tuple[str, str, bool]:
    """The module a tensor belongs to, its side ("A" or "B", "" when it is no LoRA tensor) and
    whether it is an embedding's.
    """
    match = _KEY.match(key)
    return (match["module"], match["side"], bool(match["embedding"])) if match else ("", "", False)


def _pairs(tensors: Mapping[str, Tensor], config: Mapping[str, Any], folder: Path) -> list[str]:
    """Every module has an A and a B whose ranks agree with each other and with the
    configuration.
    """
    problems: list[str] = []
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, side, _ = _split(key)
        if module:
            sides.setdefault(module, {})[side] = tensor
        elif key.endswith(("embed_tokens.weight", "lm_head.weight")):
            problems.append(
                f"it carries a resized embedding ({key}{_added_tokens(folder)}); vLLM cannot add"
                " tokens to the base model's vocabulary: merge it into the base model and serve"
                " that, or train without new tokens"
            )
        else:
            problems.append(f"the tensor {key} is not part of a LoRA")
    for module, pair in sides.items():
        if len(pair) < 2:
            problems.append(f"{module} has only one half of its LoRA pair")
            continue
        if any(len(tensor.shape) != 2 for tensor in pair.values()):
            problems.append(f"{module} has LoRA tensors that are not matrices")
            continue
        rank, inner, outer = _expected_rank(module, config), pair["A"].shape[0], pair["B"].shape[1]
        if not inner == outer == rank and ".experts" not in module:
            problems.append(
                f"{CONFIG} says rank {rank} for {module}, but its tensors have rank {inner} and"
                f" {outer}"
            )
    return _few(problems)


def _added_tokens(folder: Path) -> str:
    """Which tokens made the embedding larger, where the tokenizer saved beside the
    adapter tells.
    """
    try:
        added = json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return (
        f", for tokens such as {', '.join(sorted(added)[:3])}"
        if isinstance(added, dict) and added
        else ""
    )


def _expected_rank(module: str, config: Mapping[str, Any]) -> Any:
    """PEFT's rule: a pattern fits the end of a module's name at a dot, and the first fit wins."""
    pattern = config.get("rank_pattern")
    for key, rank in (pattern if isinstance(pattern, dict) else {}).items():
        try:
            if re.match(rf"(.*\.)?({key})$", module):
                return rank
        except re.error:
            continue
    return config.get("r")


def _against(tensors: Mapping[str, Tensor], base: Base) -> list[str]:
    """Shapes and layers against the base's real ones."""
    problems = []
    for key, tensor in tensors.items():
        module, side, embedding = _split(key)
        layer = re.search(r"\.layers\.(\d+)\.", f".{module}.")
        if layer and base.layers is not None and int(layer[1]) >= base.layers:
            problems.append(
                f"{module} is in layer {layer[1]}, but the base model has {base.layers} layers"
            )
            continue
        shape = base.shape(module)
        if shape is None:
            if base.complete and ".experts" not in module:
                problems.append(f"the base model has no module {module}")
            continue
        outputs, inputs = reversed(shape) if embedding else shape
        wanted, found = (inputs, tensor.shape[1]) if side == "A" else (outputs, tensor.shape[0])
        if wanted != found:
            problems.append(
                f"{module} expects a width of {found}, but the base model's is {wanted}: it was"
                " made for another base model"
            )
    return _few(problems)


def _few(problems: list[str], limit: int = 3) -> list[str]:
    more = len(problems) - limit
    return [*problems[:limit], f"and {more} more of this kind"] if more > 0 else problems
