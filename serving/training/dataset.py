"""Chats to train on: JSON lines of `{"messages": [{"role", "content"}, ...]}`, checked line by
line. No torch here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.training.errors import InputError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True)
class Chat:
    """One conversation, ending with the assistant; `line` is where it stands in its file."""

    messages: tuple[Message, ...]
    line: int


def load_chats(path: Path) -> list[Chat]:
    """Every chat of a JSONL file, blank lines skipped. Raises InputError at file:line:column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "no such dataset file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            path, f"not UTF-8 text: byte {error.object[error.start]:#04x}", line, 1
        ) from None
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from None
    # Only \n ends a JSON line: splitlines() would also cut at U+2028 inside a string.
    chats = [
        _chat(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()
    ]
    if not chats:
        raise InputError(path, 'holds no chat; each line is one, as {"messages": [...]}')
    return chats


def split_chats(
    chats: Sequence[Chat], evaluation: float, seed: int
) -> tuple[list[Chat], list[Chat]]:
    """(training, evaluation): a seeded draw, both in file order; at least one chat stays in
    training.
    """
    count = min(round(len(chats) * evaluation), len(chats) - 1)
    drawn = set(random.Random(f"split-{seed}").sample(range(len(chats)), count))
    training = [chat for index, chat in enumerate(chats) if index not in drawn]
    return training, [chats[index] for index in sorted(drawn)]


def _chat(path: Path, number: int, line: str) -> Chat:
    try:
        body = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(path, f"not valid JSON: {error.msg}", number, error.colno) from None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise InputError(path, 'a line is {"messages": [...]}', number, 1)
    messages = tuple(
        _message(path, number, line, index, entry) for index, entry in enumerate(body["messages"])
    )
    _check_order(path, number, line, messages)
    return Chat(messages, number)


def _message(path: Path, number: int, line: str, index: int, entry: Any) -> Message:
    column = _column_of_message(line, index)
    if not isinstance(entry, dict):
        raise InputError(path, f'message {index + 1} is not {{"role", "content"}}', number, column)
    role, content = entry.get("role"), entry.get("content")
    if role not in ROLES:
        raise InputError(
            path,
            f"message {index + 1} has the role {role!r}; known: {', '.join(ROLES)}",
            number,
            column,
        )
    if not isinstance(content, str) or not content.strip():
        raise InputError(
            path, f"message {index + 1} ({role}) has no text in `content`", number, column
        )
    return Message(role, content)


def _check_order(path: Path, number: int, line: str, messages: tuple[Message, ...]) -> None:
    """An optional system message, then user and assistant in turn, the assistant last."""
    offset = 1 if messages and messages[0].role == "system" else 0
    for index, message in enumerate(messages[offset:]):
        expected = "user" if index % 2 == 0 else "assistant"
        if message.role != expected:
            column = _column_of_message(line, offset + index)
            raise InputError(
                path,
                f"message {offset + index + 1} is {message.role}; {expected} comes here",
                number,
                column,
            )
    if len(messages) <= offset or messages[-1].role != "assistant":
        raise InputError(
            path,
            "a chat ends with the assistant's answer: there is nothing to learn otherwise",
            number,
            1,
        )


def _column_of_message(line: str, index: int) -> int:
    """Where the n-th entry of the outermost list starts: found by decoding the entries before it
    again.
    """
    decoder = json.JSONDecoder()
    key = line.find('"messages"')
    position = line.find("[", key) + 1
    for current in range(index + 1):
        while position < len(line) and line[position] in " \t\r,":
            position += 1
        if current == index:
            break
        _, position = decoder.raw_decode(line, position)
    return position + 1
