"""One conversation of the page: what waits while an answer grows, and how an answer says who gave
it. Pure; `page` shows it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Messages = list[dict[str, Any]]
# Between an answer and the line that says who gave it: invisible, and in no model's answer.
_MARK = "\n\n\u2063"


class ChatQuestion(NamedTuple):
    """A message with what was chosen when it was sent."""

    text: str
    choice: str
    system: str
    temperature: float
    top_p: float
    length: int


class PairQuestion(NamedTuple):
    """A question to both sides."""

    left: ChatQuestion
    right: ChatQuestion


@dataclass
class Talk:
    """A session's state. `running` says that an answer grows, which then takes what waits too;
    `pairs`, `asking` and `last` are the same side by side, and the question asked last.
    """

    waiting: deque[ChatQuestion] = field(default_factory=deque)
    running: bool = False
    pairs: deque[PairQuestion] = field(default_factory=deque)
    asking: bool = False
    last: PairQuestion | None = None


def signed(text: str, model: str, version: str) -> str:
    """The answer with a line that says which model and version gave it."""
    which = f"{model} · version {version}" if version else model
    return f"{text}{_MARK}*{which}*"


def plain(history: Messages, system: str) -> list[dict[str, str]]:
    """The conversation as the API takes it: Gradio keeps a message's content in parts."""
    messages = [{"role": "system", "content": system.strip()}] if system.strip() else []
    for each in history:
        text = text_of(each["content"]).partition(_MARK)[0]
        messages.append({"role": str(each["role"]), "content": text})
    return messages


def kept(history: object) -> Messages:
    """The conversation as a browser keeps it: roles and texts; nothing of what is neither."""
    rows = history if isinstance(history, list) else []
    return [
        {"role": each["role"], "content": text_of(each.get("content"))}
        for each in rows
        if isinstance(each, dict) and each.get("role") in ("user", "assistant")
    ]


def text_of(content: object) -> str:
    parts = content if isinstance(content, list) else [content]
    return "".join(
        str(part.get("text", "")) if isinstance(part, dict) else str(part or "") for part in parts
    )
