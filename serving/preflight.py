"""Is this adapter loadable, and will it do anything? Checks over files, the same in the
reconciler's plan and in every replica.

vLLM answers 200 to adapters of a wrong size, of another base or with names that it does not know,
and then serves garbage or the base model; so nothing reaches it unchecked. Bounded in time and
memory, and never raises. Neighbours: adapter_config.py and fit.py judge, weights.py reads,
adapters.py calls this before each load.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.inspection.adapter_config import CONFIG, judge_config, ranks_of, shown
from serving.inspection.architecture import retired
from serving.inspection.base import Base, read_base, read_kind
from serving.inspection.fit import Module, judge_copies, judge_modules, judge_pairs, modules_of
from serving.inspection.hints import WEIGHTS, no_configuration, no_model, no_weights
from serving.inspection.json_files import FileFault, is_pointer, pointer_fault, read_object
from serving.inspection.weights import Tensor, WeightsError, all_zero, not_finite, read_header

# The only list of vLLM versions whose internals serving/engine.py was tested against.
SUPPORTED_VLLM = ("0.32.0",)
# The only files that vLLM reads of an adapter's folder, and so the only ones published.
READ = (CONFIG, WEIGHTS)
# bytes: during a change two versions lie side by side on a replica's local disk, which holds 8 GiB
SIZE_LIMIT = 3 << 30
# What vLLM loads a model from, and the entries of a folder that are looked at for it.
_WEIGHTS, _FILES = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".tensors"), 10_000
_MOST_KINDS = 3  # of problems that are told one by one
_MODULE = re.compile(r"[\w.]+\.\d+\.[\w.]+")  # a module of one layer, in a sentence


@dataclass(frozen=True)
class Findings:
    """What was found: loadable when `problems` is empty. `notes` are worth reading and prevent
    nothing.

    `rank` is the highest any module needs, `size` the weights in bytes, `width` the inputs and
    outputs of all its modules added up.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rank: int = 0
    base_model: str | None = None
    size: int = 0
    target_modules: tuple[str, ...] = ()
    width: int = 0

    def memory(self, max_rank: int) -> int:
        """Bytes that the adapter takes in an engine of this max-lora-rank, to which the engine pads
        every module; two bytes a value.
        """
        return 2 * max_rank * self.width


def check_adapter(
    folder: Path,
    base: Path | None = None,
    max_rank: int | None = None,
    *,
    base_names: Iterable[str] | None = None,
    tower: bool = False,
) -> Findings:
    """Look at a PEFT adapter folder; against the base model's folder and the engine's highest rank
    when they are given.

    `base_names` are the names under which the base is known (folder, hub id). An adapter that names
    another base gets a note only, because a name proves nothing. `tower` is whether the engine
    takes LoRA on the part that reads images (enable-tower-connector-lora). Never raises.
    """
    try:
        return _checked(folder, base, max_rank, tuple(base_names or ()), tower=tower)
    except FileFault as fault:
        return Findings((str(fault),))
    except OSError as error:
        return Findings((f"it cannot be read ({error.strerror or type(error).__name__})",))
    except Exception as error:  # noqa: BLE001 no file of others may end a replica or the daemon
        return Findings(
            (f"it is damaged in a way that is not known here ({type(error).__name__})",)
        )


def model_fault(folder: Path) -> str:
    """Why a folder is no base model; empty when it may be one."""
    # Mistral's own format has params.json, which vLLM reads too.
    known = any((folder / name).is_file() for name in ("config.json", "params.json"))
    return "" if known else no_model(folder)


def weights_fault(folder: Path) -> str:
    """Why vLLM finds no weights in a model's folder; empty when it may find some."""
    for count, path in enumerate(sorted(folder.iterdir())):
        if count > _FILES:
            break
        if path.suffix in _WEIGHTS and path.is_file():
            with path.open("rb") as file:
                return pointer_fault(path.name) if is_pointer(file.read(64)) else ""
    return f"{folder} holds a configuration and no weights (*.safetensors or *.bin)"


def no_longer_served(architecture: str) -> str:
    """Why vLLM serves no model of an architecture that it once had; empty for every other one."""
    until = retired().get(architecture, "")
    if not until:
        return ""
    if "://" in until:
        return f"vLLM serves {architecture} only with a plug-in ({until}); name another model"
    return (
        f"vLLM served {architecture} until version {until} and serves it no more"
        f" ({SUPPORTED_VLLM[-1]} is the version here); name another model"
    )


def takes_lora(base: Path) -> bool:
    """Whether vLLM loads LoRA for the base model in a folder; true while that is not known. With
    LoRA switched on, vLLM does not start for one that takes none.
    """
    try:
        return read_kind(base).lora
    except Exception:  # noqa: BLE001 `check_adapter` says what is wrong with it
        return True


def _checked(
    folder: Path,
    base: Path | None,
    max_rank: int | None,
    base_names: tuple[str, ...],
    *,
    tower: bool,
) -> Findings:
    config, tensors = _config(folder), _tensors(folder)
    modules, others = modules_of(tensors)
    ranks = ranks_of(config)
    size = sum(tensor.end - tensor.start for tensor in tensors.values())
    problems = [*_links(folder), *judge_config(config), *_rank_limits(ranks, max_rank)]
    problems += [*_too_large(size), *_few(_strangers(others, folder))]
    if not problems:
        # Cheap looks first, and each builds on what the one before has found in order.
        problems += _few(judge_pairs(modules.values(), config))
    if not problems and base is not None:
        known = _base(base)
        problems += _few(judge_copies(tensors, known))
        problems += _few(judge_modules(modules.values(), known, tower=tower))
    if not problems:
        problems += _values(folder / WEIGHTS, tensors, modules)
    return Findings(
        problems=tuple(problems),
        notes=(*_other_name(config, base_names), *_left_out(folder)),
        rank=max(ranks, default=0),
        base_model=_base_name(config),
        size=size,
        target_modules=tuple(sorted({name.rpartition(".")[2] for name in modules})),
        width=sum(module.width for module in modules.values()),
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not folder.is_dir():
        raise WeightsError(f"there is no adapter folder {folder.name}")
    if not path.is_file():
        raise WeightsError(_no_file(path) or no_configuration(folder))
    return read_object(path)


def _tensors(folder: Path) -> dict[str, Tensor]:
    if not (folder / WEIGHTS).is_file():
        raise WeightsError(_no_file(folder / WEIGHTS) or no_weights(folder))
    tensors = read_header(folder / WEIGHTS)
    if not tensors:
        raise WeightsError(f"{WEIGHTS} holds no tensors")
    return tensors


def _no_file(path: Path) -> str:
    """What stands under the name of a file without being one: a folder, a pipe, a dangling link."""
    return f"{path.name} is no regular file" if os.path.lexists(path) else ""


def _base(folder: Path) -> Base:
    try:
        return read_base(folder)
    except (FileFault, OSError) as error:
        raise WeightsError(f"the base model cannot be read: {error}") from None


def _too_large(size: int) -> list[str]:
    if size <= SIZE_LIMIT:
        return []
    return [
        f"its weights are {size / 2**30:.1f} GiB; {SIZE_LIMIT >> 30} GiB is the most that a"
        " replica's local disk has room for"
    ]


def _links(folder: Path) -> list[str]:
    return [
        f"{name} is a link; an adapter must hold its files itself"
        for name in (CONFIG, WEIGHTS)
        if (folder / name).is_symlink()
    ]


def _rank_limits(ranks: list[int], limit: int | None) -> list[str]:
    if limit is not None and ranks and max(ranks) > limit:
        return [f"its rank {shown(max(ranks))} is higher than the engine's max-lora-rank {limit}"]
    return []


def _other_name(config: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    """Compares last path components without case and punctuation: 'org/Phi-3-mini' and
    './models/phi-3-mini' are one.
    """
    name = _base_name(config)
    names = {_plain(one) for one in known} - {""}
    if not name or not names or _plain(name) in names:
        return []
    return [
        f"it says that it was trained on {shown(name)}, and the base model here is"
        f" {' or '.join(sorted(set(known)))!r}; their shapes decide"
    ]


def _left_out(folder: Path) -> list[str]:
    """Files that a trainer left beside the adapter, which are neither published nor part of a
    version. The README that peft writes beside every adapter is not mentioned.
    """
    names = sorted({path.name for path in folder.iterdir()} - {*READ, "README.md"})
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    shown_names = ", ".join(shown(name)[1:-1] for name in names[:5])
    return [f"only {' and '.join(READ)} are published; left out: {shown_names}{more}"]


def _plain(name: str) -> str:
    last = name.partition("@")[0].replace("\\", "/").rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9]", "", last.lower())


def _base_name(config: Mapping[str, Any]) -> str | None:
    value = config.get("base_model_name_or_path")
    return value[:300] if isinstance(value, str) and value else None


def _strangers(others: Iterable[str], folder: Path) -> Iterator[str]:
    """Tensors that are neither an A nor a B of a LoRA, which vLLM refuses."""
    for key in others:
        if key.endswith(("embed_tokens.weight", "lm_head.weight")):
            yield (
                f"it carries a whole embedding ({key}{_added_tokens(folder)}), which vLLM does not"
                " take: save it with save_embedding_layers=False or, if tokens were added or the"
                " embedding was trained, merge it into the base model and serve that"
            )
        elif (head := key.rpartition(".")[0].rpartition(".")[2]) in ("score", "classifier"):
            yield (
                f"it was trained for classification (it carries {head}), and a service has no route"
                " that classifies"
            )
        else:
            yield f"the tensor {ascii(key[:200])[1:-1]} is not part of a LoRA that vLLM can load"


def _added_tokens(folder: Path) -> str:
    """Which tokens made the embedding larger, if the tokenizer beside the adapter lists them."""
    try:
        added = read_object(folder / "added_tokens.json")
    except (OSError, FileFault):
        return ""
    names = ", ".join(ascii(one[:40])[1:-1] for one in sorted(added)[:3])
    return f", for tokens such as {names}" if added else ""


def _values(path: Path, tensors: Mapping[str, Tensor], modules: Mapping[str, Module]) -> list[str]:
    if name := not_finite(path, tensors):
        return [f"the tensor {name} holds values that are not finite (NaN or infinity)"]
    for side in "BA":
        if all_zero(path, {n: one.sides[side] for n, one in modules.items()}):
            return [
                f"its lora_{side} is zero in every module, so the base model would answer: it was"
                " saved before it was trained"
            ]
    return []


def _few(problems: Iterable[str]) -> list[str]:
    """The kinds of problems, with the first of each: what is wrong with one layer is wrong with all
    of them.
    """
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_MODULE.sub("", problem), []).append(problem)
    told = [
        first + (f" (and {len(others)} more like it)" if others else "")
        for first, *others in kinds.values()
    ]
    more = len(told) - _MOST_KINDS
    return [*told[:_MOST_KINDS], f"and {more} more kinds of problems"] if more > 0 else told
