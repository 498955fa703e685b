"""vLLM's command line for a service: the model, the LoRA capacity and what the user asked for.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.api.service import Engine

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values that --max-lora-rank takes
SLOTS = (4, 8, 16, 32, 64, 128)


def engine_args(
    model: str,
    served_name: str,
    ranks: Sequence[int],
    user: Mapping[str, Any],
    canaries: Sequence[int] = (),
) -> list[str]:
    """The arguments, the user's last. `ranks` are the ranks of the adapters, `canaries` those of
    their canaries.

    Capacity grows in steps with head-room. So one more adapter, or a larger rank within the step,
    stays a change of the catalogue and needs no new revision. `--max-loras` is how many adapters
    are batched together without loss of speed; `--max-cpu-loras` is twice that, so that each
    adapter's next version, or its canary, fits beside it.
    """
    args = ["--model", model, "--served-model-name", served_name, "--port", "8000"]
    if ranks:
        loaded = len(ranks) + len(canaries)
        slots = next((step for step in SLOTS if step >= len(ranks) and 2 * step > loaded), loaded)
        capacity = {
            "max-lora-rank": next(
                (step for step in RANKS if step >= max(16, *ranks, *canaries)), RANKS[-1]
            ),
            "max-loras": slots,
            "max-cpu-loras": max(2 * slots, 2 * int(user.get("max-loras", 0))),
        }
        args += [
            "--enable-lora",
            *_flags({**capacity, **{k: user[k] for k in capacity if k in user}}),
        ]
        user = {flag: value for flag, value in user.items() if flag not in capacity}
    if not {"safetensors-load-strategy", "load-format"} & user.keys():
        user = {
            **user,
            "safetensors-load-strategy": "prefetch",
        }  # vLLM does it by itself on NFS, and the share is SMB
    return args + _flags(user)


def start_variables(engine: Engine | None) -> dict[str, str]:
    """The variables that change how launch starts vLLM. Defaults set none, so that a default may
    change without a new revision.
    """
    variables = {}
    if engine is not None and engine.readers is not None:
        variables["MOORAGE_READERS"] = str(engine.readers)
    if engine is not None and not engine.compile_cache:
        variables["MOORAGE_COMPILE_CACHE"] = "off"
    return variables


def _flags(values: Mapping[str, Any]) -> list[str]:
    flags: list[str] = []
    for name, value in values.items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, (list, tuple)):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags += [f"--{name}", str(value)]
    return flags
