"""One conversation of the page: what waits while an answer grows, and how an answer says who gave
it. Pure; `page` shows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Messages = list[dict[str, Any]]
# Between an answer and the line that says who gave it: invisible, and in no model's answer.
_MARK = "\u2063"


class ChatQuestion(NamedTuple):
    """A message with what was chosen when it was sent."""

    text: str
    choice: str
    system: str
    temperature: float
    top_p: float
    length: int
    picture: str = ""  # the path of its image


class PairQuestion(NamedTuple):
    """A question to both sides."""

    left: ChatQuestion
    right: ChatQuestion


@dataclass
class Talk:
    """A session's state. `running` says that an answer grows, which then takes what waits too;
    `pairs`, `asking` and `last` are the same side by side, and the question asked last.
    `pictures` are the images of the conversation as the API takes them, by path.
    """

    waiting: deque[ChatQuestion] = field(default_factory=deque)
    running: bool = False
    pairs: deque[PairQuestion] = field(default_factory=deque)
    asking: bool = False
    last: PairQuestion | None = None
    pictures: dict[str, str] = field(default_factory=dict)


def signed(text: str, model: str, version: str) -> str:
    """The answer with a line that says which model and version gave it."""
    which = f"{model} · version {version}" if version else model
    return f"{text}\n\n{_MARK}*{which}*"


def unanswered(text: str, problem: str) -> str:
    """What came of an answer before it failed, with a line that says why."""
    return f"{text}\n\n{_MARK}**{problem[:1].upper()}{problem[1:]}**"


def said(question: ChatQuestion) -> dict[str, Any]:
    """A question as the page shows it."""
    if not question.picture:
        return {"role": "user", "content": question.text}
    parts = [question.text, {"path": question.picture}]
    return {"role": "user", "content": [part for part in parts if part]}


def plain(history: Messages, system: str, pictures: Mapping[str, str]) -> Messages:
    """The conversation as the API takes it: Gradio keeps a message's content in parts. Of images
    only `pictures` are sent, which this session has read itself.
    """
    messages: Messages = []
    if system.strip():
        messages.append({"role": "system", "content": system.strip()})
    for each in history:
        text = text_of(each["content"]).partition(_MARK)[0].removesuffix("\n\n")
        urls = [pictures[path] for path in _paths(each["content"]) if path in pictures]
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        words = [{"type": "text", "text": text}] if text else []
        content = [*words, *images] if images else text
        messages.append({"role": str(each["role"]), "content": content})
    return _answered(messages)


def _answered(messages: Messages) -> Messages:
    """Without questions that got no answer, except the last: templates of many models refuse two
    messages of one role in a row.
    """
    found: Messages = []
    for each in messages:
        mute = each["role"] == "assistant" and not each["content"]
        if found and found[-1]["role"] == "user" and (mute or each["role"] == "user"):
            found.pop()
        if not mute:
            found.append(each)
    return found


def kept(history: object) -> Messages:
    """The conversation as a browser keeps it: roles and texts; nothing of what is neither."""
    return [
        {**each, "content": text_of(each["content"]) or "(an image)"} for each in shown(history)
    ]


def shown(history: object) -> Messages:
    """The conversation as the page shows it: with the images that it has."""
    rows = history if isinstance(history, list) else []
    found = []
    for each in rows:
        if isinstance(each, dict) and each.get("role") in ("user", "assistant"):
            content = each.get("content")
            images = [{"path": path} for path in _paths(content)]
            text = text_of(content)
            parts = [part for part in (text, *images) if part]
            found.append({"role": each["role"], "content": parts if images else text})
    return found


def text_of(content: object) -> str:
    parts = content if isinstance(content, list) else [content]
    return "".join(
        str(part.get("text", "")) if isinstance(part, dict) else str(part or "") for part in parts
    )


def _paths(content: object) -> Iterator[str]:
    """The images of a message, as the page was given them or as Gradio keeps them."""
    for part in content if isinstance(content, list) else [content]:
        file = part.get("file", part) if isinstance(part, dict) else None
        if isinstance(file, dict) and isinstance(file.get("path"), str):
            yield file["path"]
