"""Finds NaN values, which an adapter computes for some prompts when its weights overflow, and keeps
them from spreading to other requests.

vLLM answers them with 200 and the first token of its vocabulary over and over. They also stay
behind in the blocks of the key-value cache, where attention multiplies the unused rest of a block
by zero, and 0 * NaN is NaN: the next request that gets the block answers rubbish, whatever its
adapter (seen on 0.32; vllm pull request 50283, flash-attention issue 2374).
"""

from __future__ import annotations

from typing import Any

ENVIRONMENT = {
    "VLLM_COMPUTE_NANS_IN_LOGITS": "1"
}  # vLLM's engine tells the server with each token how many there were
REASON = "NaN"


def contain() -> None:
    """Have blocks zeroed when a request gets them, as vLLM does for models that need it anyway."""
    from vllm.v1.kv_cache_interface import KVCacheConfig

    KVCacheConfig.needs_kv_cache_zeroing = property(lambda _self: True)


def end_requests(processor: Any) -> None:
    """Have vLLM's output processor end a request with an error at its first NaN, and not at the
    last of all its tokens.
    """
    from vllm.v1.engine import FinishReason

    process = processor.process_outputs

    def processed(outputs: Any, *args: Any, **options: Any) -> Any:
        spoilt = [one for one in outputs if one.num_nans_in_logits]
        running = [one.request_id for one in spoilt if one.finish_reason is None]
        for one in spoilt:
            one.finish_reason, one.stop_reason = FinishReason.ERROR, REASON
        result = process(outputs, *args, **options)
        result.reqs_to_abort.extend(running)  # the engine still runs them
        return result

    processor.process_outputs = processed
