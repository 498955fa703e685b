"""Turns chats into token ids and batches. Only answers are learnt: a prompt's tokens carry no
loss.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from serving.training.dataset import Chat
from serving.training.errors import InputError, TrainingError

IGNORED = -100  # torch's cross entropy skips this label


@dataclass(frozen=True)
class Example:
    """Token ids of everything before one assistant turn, and of that turn with its end mark."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Left-padded, so that all answers end in the last column and logits are needed for the last
    `answer_width` alone.

    All tensors are int64 of shape [batch, tokens]; `labels` hold IGNORED outside the answers.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    answer_width: int

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.position_ids.to(device),
            self.labels.to(device),
            self.answer_width,
        )


def encode(chats: Sequence[Chat], tokenizer: Any, path: Path, max_tokens: int) -> list[Example]:
    """One example per assistant turn. Raises InputError for a chat longer than `max_tokens`."""
    if not tokenizer.chat_template:
        raise TrainingError(
            "the base model's tokenizer has no chat template, so chats cannot be encoded for it"
        )
    examples = []
    for chat in chats:
        for turn, message in enumerate(chat.messages):
            if message.role != "assistant":
                continue
            example = _example(chat, turn, tokenizer)
            length = len(example.prompt) + len(example.answer)
            if length > max_tokens:
                raise InputError(
                    path, f"{length} tokens, more than maxTokens {max_tokens}", chat.line, 1
                )
            examples.append(example)
    return examples


def batch_order(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Endless batches of indexes: each pass over the data in a new order that depends on the seed
    and the pass alone.
    """
    pending: list[int] = []
    turn = 0
    while True:
        while len(pending) < size:
            order = list(range(count))
            random.Random(f"order-{seed}-{turn}").shuffle(order)
            pending += order
            turn += 1
        yield pending[:size]
        pending = pending[size:]


def collate(examples: Sequence[Example], padding: int) -> Batch:
    width = max(len(example.prompt) + len(example.answer) for example in examples)
    answer_width = max(len(example.answer) for example in examples)
    input_ids = torch.full((len(examples), width), padding)
    attention_mask = torch.zeros_like(input_ids)
    labels = torch.full_like(input_ids, IGNORED)
    for row, example in enumerate(examples):
        tokens = example.prompt + example.answer
        input_ids[row, width - len(tokens) :] = torch.tensor(tokens)
        attention_mask[row, width - len(tokens) :] = 1
        labels[row, width - len(example.answer) :] = torch.tensor(example.answer)
    position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0)
    return Batch(input_ids, attention_mask, position_ids, labels, answer_width)


def _example(chat: Chat, turn: int, tokenizer: Any) -> Example:
    """The answer is what the template adds when the turn is there, up to and including the end
    mark.
    """
    messages = [
        {"role": message.role, "content": message.content} for message in chat.messages[: turn + 1]
    ]
    before: str = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, tokenize=False
    )
    whole: str = tokenizer.apply_chat_template(messages, tokenize=False)
    if not whole.startswith(before):
        raise TrainingError(
            "the chat template does not continue a prompt by its answer, so answers cannot be told"
            " from prompts"
        )
    end = tokenizer.eos_token or ""
    answer = whole[len(before) :]
    answer = answer[: answer.rindex(end)] if end and end in answer else answer
    prompt_ids = tokenizer(before, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
    return Example(tuple(prompt_ids), (*answer_ids, tokenizer.eos_token_id))
