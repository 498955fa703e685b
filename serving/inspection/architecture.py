"""What vLLM's class for a base model's architecture does with LoRA: which modules take one and how
vLLM renames what an adapter calls them.

The table is vLLM's own, written by `python -m tests.serving.lora_table` and compared with the
image's vLLM in a test. Used by fit.py; needs neither vLLM nor a GPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any

TABLE = "vllm_lora.json"
PREFIX = "base_model.model."
_BACKEND = "TransformersForCausalLM"
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True)
class Architecture:
    """One vLLM class. `known` is whether the table holds it, `lora` whether vLLM loads LoRA for it.

    `modules` are the modules that take one, with `*` for a layer's number; None where only the
    class could be read and not an instance of it. Of these, `lost` are modules whose LoRA vLLM
    loads and does not compute with. `stored` is how transformers renames a checkpoint's tensors
    when it loads a model that vLLM has no class for.
    """

    name: str
    known: bool = False
    lora: bool = True
    vision: bool = False
    embedding: frozenset[str] = frozenset()
    packed: Mapping[str, list[str]] = field(default_factory=dict)
    modules: frozenset[str] | None = None
    suffixes: frozenset[str] = frozenset()
    towers: frozenset[str] = frozenset()
    takes_tower: bool = False
    experts: str = ""
    expert_names: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    skip: tuple[str, ...] = ()
    stored: tuple[tuple[str, str], ...] = ()
    names: Mapping[str, list[list[str]]] = field(default_factory=dict)

    def rename(self, key: str) -> str:
        """A tensor's name as vLLM reads it: without peft's prefix and mapped as its class maps
        names.
        """
        name = key.replace(PREFIX, "") if key.startswith(PREFIX) else key
        for pattern, new in self._patterns:
            if pattern.search(name):
                name = pattern.sub(new, name)
        for old, new in self.names.get("substr", ()):
            name = name.replace(old, new, 1)
        for old, new in self.names.get("prefix", ()):
            if name.startswith(old):
                name = name.replace(old, new, 1)
        for old, new in self.names.get("suffix", ()):
            if name.endswith(old):
                name = new.join(name.rsplit(old, 1))
        return name

    def loaded(self, name: str) -> str:
        """What a tensor of the base model's files is called once the model is loaded."""
        for pattern, new in self.stored:
            name = re.sub(pattern, new, name)
        return name

    def module(self, name: str) -> str:
        """What `rename` makes of a module instead of a tensor."""
        return self.rename(f"{name}.weight").removesuffix(".weight")

    def skips(self, key: str) -> bool:
        """Whether vLLM leaves the tensor out because no answer needs it (layers that predict
        ahead).
        """
        return any(f".{one}" in key or key.startswith(one) for one in self.skip)

    def takes(self, module: str) -> bool | None:
        """Whether a module of this (renamed) name takes a LoRA; None when that is not known."""
        if self.modules is None:
            return None
        return template(module) in self._unpacked

    def in_tower(self, module: str) -> bool:
        """Whether the module belongs to the part that reads images or sound."""
        if template(module) in self._tower_names:
            return True
        tops = {one.partition(".")[0] for one in self.towers}
        return module.partition(".")[0] in tops - {one.partition(".")[0] for one in self._unpacked}

    def embeds(self, leaf: str) -> bool | None:
        """Whether vLLM takes a LoRA on the embedding or the head of this name. The classes of the
        models inside decide that, so the class of a vision-language model alone is not enough.
        """
        if leaf in self.embedding or leaf in self.suffixes:
            return True
        return None if self.vision and not self.suffixes else False

    def expects(self, module: str) -> bool | None:
        """VLLM's first check, by the last part of the (renamed) name alone."""
        if not self.suffixes:
            return None
        if ".experts" in module:
            rest = module[module.index(".experts") + 1 :]
            return rest == "experts" or _expert(rest) in self.expert_names
        return module.rpartition(".")[2] in self._expected

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        return [(re.compile(old), new) for old, new in self.names.get("regex", ())]

    @cached_property
    def _expected(self) -> frozenset[str]:
        return frozenset(part for one in self.suffixes for part in self.packed.get(one, [one]))

    @cached_property
    def _unpacked(self) -> frozenset[str]:
        found = _unpack(self.modules or (), self.packed)
        experts = {one for one in found if one.endswith(".experts")}
        return frozenset(
            found | {f"{one}.*.{name}" for one in experts for name in self.expert_names}
        )

    @cached_property
    def _tower_names(self) -> frozenset[str]:
        return frozenset(_unpack(self.towers, self.packed))


@lru_cache(maxsize=64)
def architecture(name: str) -> Architecture:
    """The architecture that a base model's config.json names."""
    table = _table()
    entry = table["architectures"].get(_registered(name))
    if entry is None:
        # vLLM serves it with its backend for transformers, whose modules are not known here.
        row = table["classes"][table["architectures"][_BACKEND]]
        stored = tuple((old, new) for old, new in table["stored"].get(name, ()))
        return Architecture(name, embedding=frozenset(row["embedding"]), stored=stored)
    if not isinstance(entry, str):
        # False in the table means that vLLM has the architecture without LoRA. An architecture that
        # is missing in the table is unknown here.
        return Architecture(name, known=entry is False, lora=entry is not False)
    row = table["classes"][entry]
    return Architecture(
        name,
        known=True,
        vision=row.get("vision", False),
        embedding=frozenset(row.get("embedding", ())),
        packed=row.get("packed", {}),
        modules=frozenset(row["modules"]) if "modules" in row else None,
        suffixes=frozenset(row.get("suffixes", ())),
        towers=frozenset(row.get("towers", ())),
        takes_tower=row.get("tower", False),
        experts=row.get("experts", ""),
        expert_names=frozenset(row.get("expert_names", ())),
        plain=frozenset(_unpack(row.get("plain", ()), row.get("packed", {}))),
        lost=frozenset(_unpack(row.get("lost", ()), row.get("packed", {}))),
        skip=tuple(row.get("skip", ())),
        names=row.get("names", {}),
    )


def retired() -> Mapping[str, str]:
    """The architectures that vLLM had once and serves no more, with its last version that did, or
    with the address of the plug-in that has them now.
    """
    found: Mapping[str, str] = _table()["retired"]
    return found


def _registered(name: str) -> str:
    """The name under which vLLM has the architecture. For an embedding model or a classifier, it is
    the name of the language model inside.
    """
    table = _table()
    known, endings = table["architectures"], table["endings"]
    ending = next((one for one in endings if name.endswith(one)), None)
    if name in known or ending is None:
        return name
    names = (name.replace(ending, other) for other in endings)
    return next((other for other in names if other in known), name)


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = (resources.files("serving.inspection") / TABLE).read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def template(module: str) -> str:
    """The name with `*` for each number in it."""
    return _NUMBER.sub("*", module)


def _unpack(modules: Any, packed: Mapping[str, list[str]]) -> set[str]:
    found = set()
    for one in modules:
        parent, dot, leaf = one.rpartition(".")
        found |= {f"{parent}{dot}{part}" for part in packed.get(leaf, [leaf])}
    return found


def _expert(rest: str) -> str:
    """`gate_proj` of `experts.7.gate_proj`."""
    parts = rest.split(".", 2)
    return parts[2] if len(parts) == 3 and parts[1].isdigit() else ""
