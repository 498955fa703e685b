"""What one request orders, judged before vLLM starts on it: sequences, tokens, messages, tools,
schemas, media. Pure.

Work that has begun in vLLM cannot always be taken back (a grammar that compiles, a batch that is
scheduled), so it is bounded here. schemas.py and media.py judge their parts; gate.py calls this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.catalogue import KeyLimits, Limits
from serving.request import media, schemas
from serving.request.answers import Answer, refuse, too_large

GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
# Guesses of tokens until they are counted: of a prompt at most, of an answer without a maximum.
_PROMPT, _ANSWER = 32_768, 256
TOKENIZED = 1 << 20  # bytes of a body for /tokenize
EMBEDDING_INPUTS = 2048  # OpenAI's own
# Lists that vLLM walks for every token, or tokenizes before it begins; OpenAI takes 4 stops.
_LISTS = {
    "stop": 64,
    "bad_words": 256,
    "stop_token_ids": 256,
    "logit_bias": 1024,
    "allowed_token_ids": 4096,
    "logprob_token_ids": 256,
    "documents": 256,
}
_TEXTS = 1024  # letters of one of them
# Fields that reach into the server, or cause work that goes on after the client has left.
_CLOSED = {
    "prompt_embeds": "tensors of a client are not read",
    "kv_transfer_params": "the key-value cache is the server's own",
    "ec_transfer_params": "the encoder's cache is the server's own",
    "mm_processor_kwargs": "how media are processed is the server's choice",
    "media_io_kwargs": "how media are read is the server's choice",
    "mm_payload": "media are sent in the messages",
    "return_mm_kwargs": "media are not given back",
    "repetition_detection": "patterns are not searched",
    "background": "answers are not stored",
    "previous_response_id": "answers are not stored",
    "chat_template": "the model's own chat template is used",
}
_OUTPUT = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True)
class Bounds:
    """The limits of one call: those of the key, or else those of the service."""

    service: Limits
    prompt_tokens: int | None
    output_tokens: int
    sequences: int

    @classmethod
    def of(cls, service: Limits, key: KeyLimits | None = None) -> Bounds:
        own = key or KeyLimits()
        return cls(
            service,
            service.prompt_tokens if own.prompt_tokens is None else own.prompt_tokens,
            service.output_tokens if own.output_tokens is None else own.output_tokens,
            service.sequences if own.sequences is None else own.sequences,
        )


@dataclass(frozen=True)
class Demand:
    """What a request asks for: sequences that vLLM will work on, and about how many tokens."""

    sequences: int = 1
    tokens: int = 0


def judge(asked: Mapping[str, Any], path: str, bounds: Bounds, length: int) -> Demand | Answer:
    """The order, or the reason why it is refused. `length` is the length of the body in bytes."""
    faults = (*_faults(asked, path, bounds), *media.faults(asked, bounds.service))
    if path not in (*GENERATING, "/v1/embeddings") and length > TOKENIZED:
        return too_large(TOKENIZED)
    for fault in faults:
        return refuse(400, fault.message, fault.code, param=fault.param)
    prompt = min(length // 4, bounds.prompt_tokens or _PROMPT)
    if path not in GENERATING:
        return Demand(1, prompt)
    sequences, output = _sequences(asked, path), _output(asked)
    each = min(_ANSWER, bounds.output_tokens) if output is None else output
    return Demand(sequences, prompt + sequences * each)


def _faults(asked: Mapping[str, Any], path: str, bounds: Bounds) -> Iterator[schemas.BodyFault]:
    limits = bounds.service
    yield from (
        schemas.BodyFault(name, f"`{name}` is not served here: {why}.", "unsupported_parameter")
        for name, why in _CLOSED.items()
        if name in asked and asked[name] and name not in limits.opened
    )
    # Embeddings generate nothing; the limits of answers would refuse good requests.
    if path not in GENERATING:
        yield from _too_many("input", _count(asked.get("input")), EMBEDDING_INPUTS, "inputs")
        return
    yield from _too_many("n", _sequences(asked, path), bounds.sequences, "choices times prompts")
    yield from _too_many("messages", _count(asked.get("messages")), limits.messages, "messages")
    yield from _too_many("input", _count(asked.get("input")), limits.messages, "items")
    yield from _too_many("tools", _count(asked.get("tools")), limits.tools, "tools")
    if (output := _output(asked)) is not None and output > bounds.output_tokens:
        name = next(name for name in _OUTPUT if asked.get(name) is not None)
        text = f"{name} is too large: {output}. At most {bounds.output_tokens} tokens are made."
        yield schemas.BodyFault(name, text, "invalid_value")
    for name, most in _LISTS.items():
        if name not in asked:
            continue
        given = asked[name]
        yield from _too_many(name, _count(given), most, "entries")
        texts = given if isinstance(given, list) else [given]
        if name in ("stop", "bad_words") and any(
            isinstance(text, str) and len(text) > _TEXTS for text in texts
        ):
            text = f"An entry of {name} is longer than {_TEXTS} letters."
            yield schemas.BodyFault(name, text, "string_above_max_length")
    yield from schemas.faults(asked, limits)


def _too_many(name: str, count: int, most: int, what: str) -> Iterator[schemas.BodyFault]:
    if count > most:
        text = f"The request has {count} {what}; at most {most} are taken."
        yield schemas.BodyFault(name, text, "limit_exceeded")


def _count(value: Any) -> int:
    return len(value) if isinstance(value, (list, dict)) else 0


def _sequences(asked: Mapping[str, Any], path: str) -> int:
    choices = max(_whole(asked.get("n")), _whole(asked.get("best_of")), 1)
    return choices * (_prompts(asked.get("prompt")) if path == "/v1/completions" else 1)


def _prompts(prompt: Any) -> int:
    """A list of texts or of token lists is one prompt each; a list of tokens is one."""
    several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return len(prompt) if several else 1


def _whole(value: Any) -> int:
    """The whole number that vLLM reads: for pydantic 3, 3.0 and "3" are the same. A value that vLLM
    refuses counts as one.
    """
    if value is None or isinstance(value, bool):
        return 1
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 1


def _output(asked: Mapping[str, Any]) -> int | None:
    given = [_whole(asked[name]) for name in _OUTPUT if asked.get(name) is not None]
    return max(given) if given else None
