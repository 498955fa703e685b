"""What lora_table.py asks of a model that vLLM has built and wrapped for LoRA."""

from __future__ import annotations

from typing import Any

from serving.inspection.base import _projections  # the rule that the table vouches for


def lost(model: Any, wrapped: dict[str, Any]) -> list[str]:
    """The wrapped modules whose bare layer something else holds as well: another module under a name
    that vLLM does not wrap, or an attention's implementation. What computes with the bare layer
    there leaves the LoRA out.
    """
    held = set()
    for module in model.modules():
        if not type(module).__name__.endswith("WithLoRA"):
            held |= set(map(id, module._modules.values()))
        for value in vars(module).values():
            held |= set(map(id, getattr(value, "__dict__", {}).values()))
    return [name for name, module in wrapped.items() if id(module.base_layer) in held]


def usual(name: str, module: Any, config: Any) -> bool:
    """Whether the module has the widths that serving/inspection/base.py works out of a configuration."""
    text = config.get_text_config().to_dict()
    shapes = _projections(text)
    leaf = name.rpartition(".")[2]
    parts = {
        "qkv_proj": ("q_proj", "k_proj", "v_proj"),
        "gate_up_proj": ("gate_proj", "up_proj"),
    }.get(leaf, (leaf,))
    if any(part not in shapes for part in parts):
        return False
    outputs = sum(shapes[part][0] for part in parts)
    layer = module.base_layer
    return bool((layer.output_size, layer.input_size) == (outputs, shapes[parts[0]][1]))


def light_experts(manager: Any, torch: Any) -> Any:
    """VLLM's `from_layer`, but for experts, whose kernels a CPU does not have."""
    real = manager.from_layer

    def light(cls: Any) -> Any:
        def start(self: Any, layer: Any) -> None:
            torch.nn.Module.__init__(self)
            self.base_layer = layer
            self._shared_experts = getattr(layer, "_shared_experts", None)

        return type(cls.__name__, (cls,), {"__init__": start, "set_mapping": lambda *_: None})

    flat, fused = light(manager.FusedMoEWithLoRA), light(manager.FusedMoE3DWithLoRA)

    def from_layer(layer: Any, slots: int, lora: Any, packed: list[str], config: Any = None) -> Any:
        if isinstance(layer, manager.MoERunner):
            return (fused if len(packed) == 1 else flat)(layer)
        return real(layer, slots, lora, packed, config)

    return from_layer


def names(mapper: Any) -> dict[str, Any]:
    """How vLLM renames what an adapter calls a module: only the renames, in vLLM's order."""
    if mapper is None:
        return {}
    renames = mapper.get_rename_mapper()
    told = {
        "regex": [[p.pattern, new] for p, new in renames.orig_to_new_regex.items()],
        "substr": [list(pair) for pair in renames.orig_to_new_substr.items()],
        "prefix": [list(pair) for pair in renames.orig_to_new_prefix.items()],
        "suffix": [list(pair) for pair in renames.orig_to_new_suffix.items()],
    }
    return {key: value for key, value in told.items() if value}


def retired(registry: Any, endings: list[str]) -> dict[str, str]:
    """The architectures that vLLM had once, with its last version or the address of a plug-in,
    without those that its backend for transformers serves now.
    """
    import transformers

    known = registry._VLLM_MODELS

    def is_served(name: str) -> bool:
        ending = next((one for one in endings if name.endswith(one)), None)
        if ending and any(name.replace(ending, other) in known for other in endings):
            return True
        cls = getattr(transformers, name, None)
        return cls is not None and bool(
            cls.is_backend_compatible() or cls._can_set_attn_implementation()
        )

    once = {**registry._PREVIOUSLY_SUPPORTED_MODELS, **registry._OOT_SUPPORTED_MODELS}
    return {name: until for name, until in sorted(once.items()) if not is_served(name)}
