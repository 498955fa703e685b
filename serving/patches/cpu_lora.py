"""Corrects vLLM's LoRA arithmetic on CPUs: there a request for the base model gets the adapter of
the last slot.

"No adapter" is index -1, which vLLM's GPU kernels skip and its PyTorch stand-in for CPUs takes as
"the last" (vllm pull requests 48421 and 49656). Put in place by every_process.py in every vLLM
process. Working run by run, instead of gathering one copy of the weights per token, is also what
makes adapters bearable on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Run = tuple[int, int, int]  # slot, first row, row after the last


def correct() -> None:
    """Replace the six operations where the CPU's LoRA code looks them up; a GPU's kernels stay as
    they are.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.punica_wrapper import punica_cpu

    for operation in (
        bgmv_shrink,
        bgmv_expand,
        bgmv_expand_slice,
        sgmv_shrink,
        sgmv_expand,
        sgmv_expand_slice,
    ):
        setattr(punica_cpu, operation.__name__, operation)


def bgmv_shrink(inputs: Any, weights: Any, output: Any, slots: Any, scaling: float = 1.0) -> None:
    """`output[row, :rank] = scaling * A[slot of row] @ inputs[row]`; rows without an adapter become
    zero.
    """
    _shrink(inputs, weights, output, _token_runs(slots), scaling)


def bgmv_expand(
    inputs: Any, weights: Any, output: Any, slots: Any, add_inputs: bool = True
) -> None:
    """`output[row] += B[slot of row] @ inputs[row]`; rows without an adapter stay as they are."""
    _expand(inputs, weights, output, _token_runs(slots), add_inputs)


def bgmv_expand_slice(
    inputs: Any,
    weights: Any,
    output: Any,
    slots: Any,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """As bgmv_expand, into a range of columns."""
    _expand(
        inputs,
        weights,
        output[:, slice_offset : slice_offset + slice_size],
        _token_runs(slots),
        add_inputs,
    )


def sgmv_shrink(inputs: Any, weights: Any, output: Any, *prefill: Any) -> None:
    """As bgmv_shrink for whole sequences; `prefill` is vLLM's metadata followed by the scaling."""
    _shrink(inputs, weights, output, _sequence_runs(*prefill[:3]), prefill[6])


def sgmv_expand(
    inputs: Any, weights: Any, output: Any, *prefill: Any, add_inputs: bool = False
) -> None:
    _expand(
        inputs,
        weights,
        output,
        _sequence_runs(*prefill[:3]),
        prefill[6] if len(prefill) > 6 else add_inputs,
    )


def sgmv_expand_slice(inputs: Any, weights: Any, output: Any, *prefill: Any) -> None:
    offset, size, add_inputs = prefill[6:9]
    _expand(
        inputs, weights, output[:, offset : offset + size], _sequence_runs(*prefill[:3]), add_inputs
    )


def _shrink(inputs: Any, weights: Any, output: Any, runs: Iterator[Run], scaling: float) -> None:
    rank = weights.shape[-2]
    output[:, :rank] = 0
    for slot, first, end in runs:
        matrix = weights[slot].reshape(rank, -1).to(output.dtype)
        output[first:end, :rank] = (inputs[first:end].to(output.dtype) @ matrix.T) * scaling


def _expand(inputs: Any, weights: Any, output: Any, runs: Iterator[Run], add_inputs: bool) -> None:
    """Computes in the inputs' type, float32, because CPUs without bfloat16 units are slow at
    anything less.
    """
    # vLLM may pad the adapter's and the model's outputs differently.
    width = min(weights.shape[-2], output.shape[1])
    for slot, first, end in runs:
        matrix = weights[slot].reshape(weights.shape[-2], -1)[:width].to(inputs.dtype)
        delta = (inputs[first:end] @ matrix.T).to(output.dtype)
        if add_inputs:
            output[first:end, :width] += delta
        else:
            output[first:end, :width] = delta


def _token_runs(slots: Any) -> Iterator[Run]:
    """Neighbouring rows of the same adapter, from one slot number per row; -1 is left out."""
    numbers = slots.tolist()
    first = 0
    for row, slot in enumerate(numbers):
        if row + 1 == len(numbers) or numbers[row + 1] != slot:
            if slot >= 0:
                yield slot, first, row + 1
            first = row + 1


def _sequence_runs(starts: Any, lengths: Any, slots: Any) -> Iterator[Run]:
    """The same from vLLM's prefill metadata: first row, length and slot of each stretch."""
    for slot, first, length in zip(slots.tolist(), starts.tolist(), lengths.tolist(), strict=False):
        if slot >= 0:
            yield slot, first, first + length
