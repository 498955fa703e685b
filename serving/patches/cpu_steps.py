"""Makes a step of the engine shorter on CPUs: a step reads at most 512 tokens of prompts instead of
2,048.

All streams wait for a step. A CPU reads some hundred tokens of a small real model in a second, so
that a long prompt froze them for many seconds; in pieces it takes as long as before. A number in
`engine.args` counts as given. Put in place by every_process.py.
"""

from __future__ import annotations

import sys
from typing import Any

TOKENS = 512


def shorten() -> None:
    """Change vLLM's default. vLLM still raises it for models that cannot read a prompt in
    pieces.
    """
    from vllm.platforms import current_platform

    # Only the process that reads the arguments has this module, and seconds of import to lose.
    arguments = sys.modules.get("vllm.engine.arg_utils")
    if arguments is None or not current_platform.is_cpu():
        return
    defaults = arguments.EngineArgs.get_batch_defaults
    if getattr(defaults, "moorage", False):
        return

    def get_batch_defaults(_cls: Any, world_size: int) -> Any:
        tokens, sequences = defaults(world_size)
        shortened = {context: min(most, TOKENS * world_size) for context, most in tokens.items()}
        return shortened, sequences

    get_batch_defaults.moorage = True  # type: ignore[attr-defined]  # our mark
    arguments.EngineArgs.get_batch_defaults = classmethod(get_batch_defaults)
