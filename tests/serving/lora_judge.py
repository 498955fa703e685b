"""Asks vLLM's own LoRA manager what it makes of adapters, on models without memory and without an
engine; runs in the vLLM image's environment.

    python lora_judge.py FOLDER '{"adapter": "base", …}'    the last line of the output is JSON

Of each adapter, a folder in FOLDER: "takes" it, "ignores" a part of it, how vLLM refuses it, or why
the base cannot be built here.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.serving.lora_wrapped import lost

BASE = "no base:"  # how an answer begins whose base this environment cannot build


def main() -> None:
    from tests.serving.lora_table import Tables

    folder, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
    tables, found = Tables(), {}
    logging.disable(logging.CRITICAL)
    for base in sorted(set(wanted.values())):
        try:
            worker = _worker(tables, folder / "bases" / base)
        except Exception as error:
            worker = f"{BASE} {type(error).__name__}: {error}"[:300]
        for name in (one for one in wanted if wanted[one] == base):
            found[name] = worker if isinstance(worker, str) else _judged(worker, folder / name)
    print(json.dumps(found))


def _worker(tables: Any, base: Path) -> Any:
    """VLLM's LoRA worker with a manager of this base, as far as loading needs it."""
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.worker_manager import WorkerLoRAManager
    from vllm.model_executor.models.interfaces import supports_lora

    config, manager = tables.managed(base)
    if not supports_lora(manager.model):  # as vLLM's model runner says before it makes a manager
        return f"{type(manager.model).__name__} does not support LoRA yet."
    worker = object.__new__(WorkerLoRAManager)
    worker._adapter_manager, worker.lora_config = manager, config.lora_config
    worker.vocab_size = config.model_config.get_vocab_size()
    worker.max_position_embeddings, worker._lora_model_cls = None, LoRAModel
    worker.whole, worker.lost = config, set(lost(manager.model, manager.modules))
    return worker


def _judged(worker: Any, adapter: Path) -> str:
    from vllm.config import set_current_vllm_config
    from vllm.lora.request import LoRARequest

    try:
        with set_current_vllm_config(worker.whole):
            lora = worker._load_adapter(LoRARequest(adapter.name, 1, str(adapter)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    taken = _names(worker._adapter_manager)
    whole = all(one.lora_a is not None and one.lora_b is not None for one in lora.loras.values())
    taken -= worker.lost
    return "takes" if whole and taken.issuperset(lora.loras) else "ignores"


def _names(manager: Any) -> set[str]:
    """What an adapter may call the modules that the manager wraps."""
    found = set(manager.modules)
    for name in manager.modules:
        parent, dot, leaf = name.rpartition(".")
        found |= {f"{parent}{dot}{part}" for part in manager.packed_modules_mapping.get(leaf, ())}
        if leaf == "experts":
            found.add(f"{name}.base_layer")
    return found


if __name__ == "__main__":
    main()
