"""What each of vLLM's processes does first, through the entry point group `vllm.general_plugins`:
server, engine, workers.
"""

from __future__ import annotations

from serving import cpu_lora, nan
from serving.processes import die_with_parent


def register() -> None:
    """The entry point's target. vLLM calls it once per process, before it loads a model.

    An engine outlives a server that was killed outright, and keeps the model's memory:
    die_with_parent ends the chain launch, server, engine, worker from whichever link broke.
    """
    die_with_parent()
    cpu_lora.correct()
    nan.contain()
