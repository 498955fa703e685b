"""Flags of vLLM that open what Moorage keeps shut. Each must be named a second time in
`engine.allow`, by a person who has read what it opens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.api.fields import Fault

_CODE = "Python code that it names runs in the engine"
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
    "logits-processors": _CODE,
    "worker-cls": _CODE,
    "worker-extension-cls": _CODE,
    "scheduler-cls": _CODE,
    "model-class-overrides": _CODE,
    "ec-manager-config": _CODE,
    "distributed-executor-backend": _CODE,
    "compilation-config": _CODE,
    "speculative-config": _CODE,
    "spec-method": _CODE,
    "structured-outputs-config": "the file's Python code runs in the server",
    "logging-config": "Python code that it names runs in the replica, and decides what is logged",
    "log-config-file": "Python code that it names runs in the replica, and decides what is logged",
    "enable-log-outputs": "the model's answers appear in the replica's log",
    "enable-trace-replay": "clients dictate the tokens of an answer",
    "kv-transfer-config": "Python code that it names runs in the engine, and what is computed of"
    " prompts leaves the replica",
    "ec-transfer-config": "Python code that it names runs in the engine, and what is computed of"
    " images leaves the replica",
    "kv-events-config": "whoever reaches its port reads the tokens of prompts",
    "weight-transfer-config": "weights are replaced while the replica serves",
    "tool-server": "the server calls tools on other machines in a client's name",
    "profiler-config": "whoever reaches the profiler writes files in the replica",
}
# Flags with harmless values too: they open something where their name or value has one of these.
_ONLY_WITH: Mapping[str, re.Pattern[str]] = {
    "distributed-executor-backend": re.compile(r"\."),  # a class by its dotted name
    "compilation-config": re.compile(r"backend|inductor_passes"),
    # What vLLM takes for a class: a draft model of that form is written as a path or org/name.
    "speculative-config": re.compile(
        r"custom_class|model\W+[^\W\d]\w*(\.[^\W\d]\w*)+\s*(\"|$)", re.MULTILINE
    ),
    "spec-method": re.compile("custom_class"),
    "structured-outputs-config": re.compile("plugin"),
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
        if flag in OPENINGS and flag not in allowed and _opens(flag, name, value):
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


def _opens(flag: str, name: str, value: object) -> bool:
    only = _ONLY_WITH.get(flag)
    return value is not False and (only is None or only.search(f"{name} {value}") is not None)


def opened_fields(flags: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of a request that the flags open."""
    return tuple(field for flag, fields in FIELDS.items() if flags.get(flag) for field in fields)
