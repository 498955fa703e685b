"""Lowers the priority of the threads in which vLLM compiles grammars, so that a schema never takes
the CPU from the loops that make tokens.

The server, the engine and its workers wait for each other by spinning on sched_yield. A thread of
the same priority that computes for seconds holds each of these steps up. Put in place by
every_process.py in every vLLM process; schemas.py bounds what is compiled.
"""

from __future__ import annotations

import os
import threading
from typing import Any

# With this niceness a thread gets a tenth of the CPU time of the engine's thread, and all that is
# left over.
NICE = 10


def step_back() -> None:
    """Have each compilation lower its own thread first. XGrammar's threads inherit from it."""
    from vllm.v1.structured_output import StructuredOutputManager

    compile_one = StructuredOutputManager._create_grammar  # noqa: SLF001 held by test_vllm_contract
    if getattr(compile_one, "moorage", False):
        return

    def create_grammar(self: Any, request: Any) -> Any:
        lower_this_thread()
        return compile_one(self, request)

    create_grammar.moorage = True  # type: ignore[attr-defined]  # our mark
    StructuredOutputManager._create_grammar = create_grammar  # noqa: SLF001


def lower_this_thread() -> None:
    """Lower the priority of this thread. Not of a main thread, which runs the engine: with some
    executors vLLM compiles there.
    """
    if threading.current_thread() is threading.main_thread():
        return
    own = threading.get_native_id()
    wanted = min(19, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICE)
    if os.getpriority(os.PRIO_PROCESS, own) < wanted:
        os.setpriority(os.PRIO_PROCESS, own, wanted)  # Linux keeps a priority for each thread
