"""The small pieces of HTML of the page. Every text from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Sequence

from reconciler.api.printable import clean
from reconciler.chat.endpoint import EndpointAnswer
from reconciler.chat.state import State, StateKind

TITLES = {
    StateKind.ASLEEP: "Asleep",
    StateKind.STARTING: "Starting",
    StateKind.DOWN: "Not running",
    StateKind.UNKNOWN: "Unknown",
}


def escape(text: str) -> str:
    return html.escape(clean(text))


def head(service: str, target: str, state: State) -> str:
    return (
        f'<div id="head"><h1>{escape(service)}</h1><span class="where">on the'
        f' {escape(target)}</span><span class="badge'
        f' {state.kind}">{escape(state.kind)}</span></div>'
    )


def notice(state: State) -> str:
    """The notice that replaces the chat."""
    title = TITLES.get(state.kind, "")
    return (
        f'<div class="notice {state.kind}"><h2>{title}</h2><p>{escape(state.message)}</p></div>'
        if title
        else ""
    )


def pace(answer: EndpointAnswer | None, model: str = "") -> str:
    """The speed of an answer, and with `model` who gives it."""
    if answer is None or answer.first is None:
        return '<div class="pace"></div>'
    who = f"{model} · version {answer.version}" if answer.version else model
    parts = [escape(who)] if who else []
    parts += [f"first token after {answer.first:.2f} s"]
    if answer.pace is not None:
        parts.append(f"{answer.pace:.1f} tokens/s")
    parts.append(
        f"{answer.tokens} token{'s' if answer.tokens != 1 else ''}{'' if answer.done else ' …'}"
    )
    return f'<div class="pace">{" · ".join(parts)}</div>'


def trouble(message: str) -> str:
    return f'<div class="pace trouble">{escape(message[:1].upper() + message[1:])}</div>'


def waiting(texts: Sequence[str]) -> str:
    """The messages that wait for the answer before them."""
    rows = "".join(f"<li>{escape(text[:200])}</li>" for text in texts)
    return f'<ol class="waiting" aria-label="waiting">{rows}</ol>' if rows else ""
