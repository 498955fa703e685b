"""Flags of vLLM that open what Moorage keeps shut. Each must be named a second time in
`engine.allow`, by a person who has read what it opens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.api.fields import Fault

OPENINGS: Mapping[str, str] = {
    "trust-remote-code": "Python code in the model's folder runs in the replica",
    "trust-request-chat-template": "clients send Jinja templates that the server runs",
    "trust-request-mm-kwargs": "clients choose how images are processed, and with them the memory",
    "allowed-local-media-path": "clients read files of the replica below that path",
    "enable-prompt-embeds": "clients send tensors that the server unpacks",
    "enable-mm-embeds": "clients send tensors that the server unpacks",
    "enable-tokenizer-info-endpoint": "the tokenizer's files are served",
    "enable-log-requests": "prompts appear in the replica's log",
    "io-processor-plugin": "a plugin's code runs in the server",
    "reasoning-parser-plugin": "the file's Python code runs in the server",
    "tool-parser-plugin": "the file's Python code runs in the server",
    "logits-processors": "Python code that it names runs in the engine",
    "worker-cls": "Python code that it names runs in the engine",
    "worker-extension-cls": "Python code that it names runs in the engine",
    "tool-server": "the server calls tools on other machines in a client's name",
    "profiler-config": "whoever reaches the profiler writes files in the replica",
}
# The fields that a client may then send; the gate refuses them otherwise.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "trust-request-chat-template": ("chat_template",),
    "trust-request-mm-kwargs": ("mm_processor_kwargs", "media_io_kwargs"),
    "enable-prompt-embeds": ("prompt_embeds",),
}


def opening_faults(flags: Mapping[str, Any], allowed: tuple[str, ...]) -> Iterator[Fault]:
    """Flags that open something without being allowed, and words that allow nothing."""
    for name, value in flags.items():
        flag = name.partition(".")[0]
        if flag in OPENINGS and value is not False and flag not in allowed:
            yield Fault(
                f"with {flag} {OPENINGS[flag]}",
                f"write engine.allow: [{flag}] beside it if that is meant",
                ("engine", "args", name),
                key=True,
            )
    for index, word in enumerate(allowed):
        if word not in OPENINGS:
            yield Fault(
                f"{word!r} allows nothing",
                f"write one of: {', '.join(OPENINGS)}",
                ("engine", "allow", index),
            )


def opened_fields(flags: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of a request that the flags open."""
    return tuple(field for flag, fields in FIELDS.items() if flags.get(flag) for field in fields)
