"""What each process of vLLM (server, engine, workers) does first, through the entry point group
`vllm.general_plugins`.
"""

from __future__ import annotations

from serving.patches import cpu_lora, cpu_steps, grammar_threads, nan
from serving.processes import die_with_parent
from serving.start import stages


def register() -> None:
    """The entry point's target. vLLM calls it once per process, before it loads a model.

    Without die_with_parent, an engine would survive a killed server and keep the model's memory.
    With it, each process of the chain launch, server, engine, worker ends with its parent.
    """
    die_with_parent()
    cpu_lora.correct()
    cpu_steps.shorten()
    nan.contain()
    stages.follow_worker()
    grammar_threads.step_back()
