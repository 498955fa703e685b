"""Checks that every tensor of an adapter reaches a module of vLLM's and fits it, in vLLM's own
steps: names, pairs, ranks, modules, widths.

A tensor that vLLM silently ignores is a problem too: the base model would answer in the adapter's
place. Neighbours: architecture.py knows vLLM's modules, base.py the base model's widths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.inspection.architecture import PREFIX, Architecture, template
from serving.inspection.base import Base, expert_of, layer_of
from serving.inspection.json_files import FileFault
from serving.inspection.patterns import Patterns
from serving.inspection.weights import Tensor

_BASE_COPIES = (".embed_tokens.base_layer.weight", ".lm_head.base_layer.weight")
_FLOATS = ("F64", "F32", "F16", "BF16")
# No real adapter exceeds either, and vLLM's patterns for names would not terminate on more.
_DOTS, _LONGEST, _TENSORS = 16, 300, 200_000


@dataclass
class Module:
    """A module of the adapter: `name` as the adapter spells it, `key` the name of one of its
    tensors, and its two sides.
    """

    name: str
    key: str
    sides: dict[str, Tensor] = field(default_factory=dict)
    embedding: bool = False

    @property
    def width(self) -> int:
        """Inputs and outputs added up: what is not the rank."""
        a, b = self.sides.get("A"), self.sides.get("B")
        return (a.shape[-1] if a and a.shape else 0) + (b.shape[0] if b and b.shape else 0)


def split_key(key: str) -> tuple[str, str, bool] | None:
    """The module a tensor belongs to, its side (A or B) and whether it is an embedding's; None for
    what vLLM cannot parse.
    """
    name = key.replace(PREFIX, "") if key.startswith(PREFIX) else key
    for side in "AB":
        if name.endswith(f".lora_{side}.weight"):
            return name.removesuffix(f".lora_{side}.weight"), side, False
        if name.endswith(f".lora_embedding_{side}"):
            return name.removesuffix(f".lora_embedding_{side}"), side, True
    return None


def modules_of(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Module], list[str]]:
    """The adapter's modules by name, and the tensors that belong to none. Raises FileFault for
    names that no adapter has.
    """
    if len(tensors) > _TENSORS:
        raise FileFault(f"it has {len(tensors)} tensors; no adapter has more than {_TENSORS}")
    found: dict[str, Module] = {}
    others = []
    for key, tensor in tensors.items():
        # A terminal or a log would obey control characters.
        strange = not key.isprintable() or " " in key
        if strange or len(key) > _LONGEST or key.replace(PREFIX, "").count(".") > _DOTS:
            raise FileFault(f"it has a tensor of a name that no module has, {key[:60]!a}")
        parts = split_key(key)
        if parts is None:
            if not key.endswith(_BASE_COPIES):
                others.append(key)
            continue
        name, side, embedding = parts
        module = found.setdefault(name, Module(name, key, embedding=embedding))
        module.sides[side] = tensor
    return found, others


def judge_pairs(modules: Iterable[Module], config: Mapping[str, Any]) -> Iterator[str]:
    """Every module has an A and a B of one rank, the one that its configuration gives it."""
    modules = list(modules)
    empty = sum(any(0 in one.shape for one in module.sides.values()) for module in modules)
    if empty:
        yield (
            f"the LoRA of {empty} of {len(modules)} modules is empty, as DeepSpeed ZeRO-3 saves it"
            " when the weights are not gathered first: set"
            " stage3_gather_16bit_weights_on_model_save and save the adapter again"
        )
        return
    patterns = Patterns(config, (_pattern_name(module.name) for module in modules))
    for module in modules:
        if len(module.sides) < 2:
            yield f"{module.name} has only one half of its LoRA pair"
        elif any(len(one.shape) != 2 for one in module.sides.values()):
            yield f"{module.name} has LoRA tensors that are not matrices"
        elif bad := [one.dtype for one in module.sides.values() if one.dtype not in _FLOATS]:
            yield (
                f"{module.name} is stored as {bad[0]}; vLLM computes LoRA with 16 or 32-bit floats:"
                " save it as bfloat16"
            )
        else:
            rank = patterns.rank(_pattern_name(module.name), config.get("r"))
            yield from _rank(module, rank)


def judge_modules(modules: Iterable[Module], base: Base, *, tower: bool) -> Iterator[str]:
    """Every module reaches one of the base model's as vLLM builds it, and has its widths."""
    kind = base.kind
    if not kind.lora:
        yield f"vLLM has no LoRA for {kind.name}, the base model's architecture"
        return
    modules = list(modules)
    for module in modules:
        if kind.skips(module.key):
            continue
        name = split_name(kind, module)
        fault = (
            _refused(kind, module.name, name)
            or _ignored(kind, module.name, name, tower=tower)
            or _missing(base, module.name, name)
            or _misfit(base, module, name)
        )
        if fault:
            yield fault


def judge_copies(tensors: Mapping[str, Tensor], base: Base) -> Iterator[str]:
    """Problems of copies of the base's embeddings. peft saves them beside a LoRA on embeddings, and
    vLLM ignores them; one of another size means that tokens were added.
    """
    for key, tensor in tensors.items():
        if not key.endswith(_BASE_COPIES) or len(tensor.shape) != 2:
            continue
        shape = base.shape(base.kind.rename(key).removesuffix(".base_layer.weight"))
        if shape and shape[0] != tensor.shape[0]:
            yield (
                f"it was trained with a vocabulary of {tensor.shape[0]} tokens, and the base model"
                f" has {shape[0]}; vLLM cannot add tokens: merge it into the base model and serve"
                " that"
            )


def split_name(kind: Architecture, module: Module) -> str:
    """The module's name as vLLM has it."""
    parts = split_key(kind.rename(module.key))
    return parts[0] if parts else module.name


def _pattern_name(name: str) -> str:
    """What vLLM matches patterns with: for fused experts, peft's names of the parameters."""
    if name.endswith(".experts.base_layer"):
        return name.removesuffix(".base_layer") + ".gate_up_proj"
    return f"{name}.down_proj" if name.endswith(".experts") else name


def _rank(module: Module, rank: Any) -> Iterator[str]:
    inner, outer = module.sides["A"].shape[0], module.sides["B"].shape[1]
    fused = module.name.endswith((".experts", ".experts.base_layer"))
    agree = inner == outer and (inner % rank == 0 if fused else inner == rank)
    if not agree:
        found = f"{inner}" if inner == outer else f"{inner} and {outer}"
        yield (
            f"adapter_config.json says rank {rank} for {module.name}, but its tensors have rank"
            f" {found}"
        )


def _refused(kind: Architecture, said: str, name: str) -> str:
    """What vLLM answers with an error."""
    if name.endswith((".experts", ".experts.base_layer")) and kind.experts != "3d":
        return (
            f"{said} is one LoRA on all experts, as peft makes it for fused experts; vLLM's"
            f" {kind.name} takes one for each expert: train without the experts, or merge it into"
            " the base model"
        )
    leaf = name.rpartition(".")[2]
    by_class = leaf in ("lm_head", "embed_tokens") and kind.embeds(leaf) is False
    if by_class or (kind.expects(name) is False and not name.endswith(".experts.base_layer")):
        return f"vLLM's {kind.name} takes no LoRA on {leaf} ({said})"
    return ""


def _ignored(kind: Architecture, said: str, name: str, *, tower: bool) -> str:
    """What vLLM silently ignores."""
    name = name.removesuffix(".base_layer")
    if template(name) in kind.lost:
        leaf = name.rpartition(".")[2]
        return (
            f"vLLM's {kind.name} loads a LoRA on {leaf} ({said}) and does not compute with it, so"
            f" its answers would not be those of the training: train without {leaf}, or merge it"
            " into the base model"
        )
    # None: the architecture is not known well enough to say, and vLLM decides.
    if kind.takes(name) is not False:
        return ""
    if kind.in_tower(name):
        if tower and kind.takes_tower:
            return ""
        flag = (
            "set engine.args.enable-tower-connector-lora, or train the language model alone"
            if kind.takes_tower
            else "train the language model alone"
        )
        return (
            f"{said} belongs to the part of the model that reads images or sound, where vLLM"
            f" silently ignores LoRA: {flag}"
        )
    silent = "vLLM would silently ignore it, and the base model would answer"
    if "_orig_mod." in name:
        return (
            f"{said} carries the name of a compiled model (_orig_mod): {silent}; remove it from the"
            " tensors' names"
        )
    if kind.takes(kind.module(f"model.{said}")):
        return (
            f"{said} lacks the model's own prefix, as when it was trained on AutoModel:"
            f" {silent}; it must be called model.{said}"
        )
    return f"the base model has no module {said} in vLLM's {kind.name}: {silent}"


def _missing(base: Base, said: str, name: str) -> str:
    layer = layer_of(name)
    if layer is not None and base.layers is not None and layer >= base.layers:
        in_tower = base.kind.takes(name) is None and base.kind.in_tower(name)
        if not in_tower:
            return f"{said} is in layer {layer}, but the base model has {base.layers} layers"
    expert = expert_of(name)
    if expert is not None and base.experts is not None and expert >= base.experts:
        return f"{said} is expert {expert}, but the base model has {base.experts} experts"
    unknown = base.kind.modules is None and base.found and not _somewhere(base, name)
    if base.lacks(name) or unknown:
        return f"the base model has no module {said}"
    return ""


def _somewhere(base: Base, name: str) -> bool:
    """Whether the base has the module under the names of a model family that is not known here."""
    if name in base.found or ".experts" in name or name.endswith("lm_head"):
        return True
    return not base.kind.known and any(
        other.endswith(f".{name.removeprefix('model.')}") or name.endswith(f".{other}")
        for other in base.found
    )


def _misfit(base: Base, module: Module, name: str) -> str:
    shape = base.shape(name)
    if shape is None or name.endswith((".experts", ".experts.base_layer")):
        return ""
    outputs, inputs = reversed(shape) if module.embedding else shape
    for side, wanted in (("A", inputs), ("B", outputs)):
        tensor = module.sides.get(side)
        found = tensor.shape[1 if side == "A" else 0] if tensor and len(tensor.shape) == 2 else None
        if found is not None and found != wanted:
            return (
                f"{module.name} expects a width of {found}, but the base model's is {wanted}: it"
                " was made for another base model"
            )
    return ""
