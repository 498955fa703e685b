"""How long structured output takes to compile, judged from its text. Pure; limits.py and
compilations.py use it.

vLLM compiles grammars in a thread that nothing can stop: 2,000 values of an enum at once, 20,000 in
4 seconds of a core, 200,000 not within 12 minutes, and all others wait (seen on 0.32). So what goes
in is bounded: bytes, and parts, where a part that repeats counts as often as it repeats. With a
vocabulary of 150,000 tokens XGrammar takes about a millisecond of a core for each property, and 20
for each letter of a length (`maxLength`), up to 128 letters; equal lengths are compiled once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.catalogue import Limits
from serving.untrusted import Shape, UntrustedError

_REPEAT = re.compile(r"\{(\d{0,9})(?:,(\d{0,9}))?\}")
_MOST = 1 << 30
_WORDS = {
    "description",
    "title",
    "name",
    "$comment",
    "default",
    "examples",
    "type",
    "format",
    "$ref",
}
_LENGTHS, _LENGTH = ("minLength", "maxLength"), 100  # the most parts that one length counts as
LARGE = 100  # parts; what has fewer is compiled within a tenth of a second
TOOLS = 8  # times the bytes: most of a tool is its description, which nothing compiles


@dataclass(frozen=True)
class BodyFault:
    """Why a request is refused: OpenAI's `param`, a sentence, OpenAI's `code`."""

    param: str
    message: str
    code: str


def faults(asked: Mapping[str, Any], limits: Limits) -> Iterator[BodyFault]:
    """The schemas, grammars and expressions of the request that are too large to compile."""
    for name, what in _structured(asked):
        size = len(json.dumps(what, ensure_ascii=False))
        most = limits.schema_bytes * (TOOLS if name == "tools" else 1)
        if size > most:
            text = f"`{name}` has {size} bytes; at most {most} are compiled."
            yield BodyFault(name, text, "schema_too_large")
        elif (parts := _parts(what)) > limits.schema_parts:
            text = f"`{name}` has {parts} parts; at most {limits.schema_parts} are compiled."
            yield BodyFault(name, text, "schema_too_complex")


@dataclass(frozen=True)
class Grammar:
    """What a request has vLLM compile before it answers."""

    digest: str
    parts: int


def large_grammar(asked: Mapping[str, Any]) -> Grammar | None:
    """What vLLM compiles for the request, if that takes long."""
    forced = asked.get("tool_choice") == "required" or isinstance(asked.get("tool_choice"), dict)
    compiled = [what for name, what in _structured(asked) if name != "tools" or forced]
    parts = sum(map(_parts, compiled))
    if parts < LARGE:
        return None
    return Grammar(hashlib.sha256(json.dumps(compiled).encode()).hexdigest(), parts)


def compiles(asked: Mapping[str, Any]) -> bool:
    """Whether the request makes vLLM compile a grammar before it answers."""
    return any(name != "tools" for name, _ in _structured(asked))


def _structured(asked: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    text = asked.get("text")
    for name, value in (
        ("response_format", asked.get("response_format")),
        ("structured_outputs", asked.get("structured_outputs")),
        ("text", text.get("format") if isinstance(text, dict) else None),
        ("tools", asked.get("tools")),
    ):
        if value:
            yield name, value


def _parts(what: Any) -> int:
    """The values of a schema, those of JSON within its texts too, its lengths, and the size of its
    expressions and grammars. Numbers of repetitions of a schema (`maxItems`) cost nothing.
    """
    total, waiting, lengths = 0, [what], set()
    while waiting and total <= _MOST:
        value = waiting.pop()
        total += 1
        if isinstance(value, dict):
            expressions = value.get("patternProperties")
            if isinstance(expressions, dict):
                total += sum(_expression(pattern) for pattern in expressions)
            if any(name in value for name in _LENGTHS):
                lengths.add(tuple(_length(value.get(name)) for name in _LENGTHS))
            waiting += [
                inner
                for key, inner in value.items()
                if not (key in _WORDS and isinstance(inner, str))
            ]
        elif isinstance(value, list):
            # A long list of plain values is an enum: its texts are compared, not compiled.
            waiting += [inner for inner in value if isinstance(inner, (dict, list))]
            total += len(value)
        elif isinstance(value, str):
            try:
                inner = _json(value)
            except UntrustedError:  # deeper than a request's body may be: reading it takes seconds
                return _MOST
            if inner is None:
                total += _expression(value)
            else:
                waiting.append(inner)
    return total + sum(int(min(_LENGTH, max(one))) for one in lengths)


def _length(value: Any) -> float:
    """A length as a schema gives it, also as 9.0; what is no number counts as the longest."""
    if value is None:
        return 0
    return max(0, value) if isinstance(value, int | float) else _LENGTH


def _json(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    Shape().take(text.encode(errors="replace"))
    try:
        return json.loads(text)
    except ValueError:
        return None


def _expression(text: str) -> int:
    """The parts of a regular expression or grammar once its counted repetitions are written out,
    four letters to a part, and one that repeats to a part. Groups multiply what is in them.
    """
    levels = [0]  # parts of each open group so far
    last, at = 0, 0  # parts that a repetition would repeat
    while at < len(text) and sum(levels) < _MOST:
        if match := _REPEAT.match(text, at):
            times = max((int(number) for number in match.groups() if number), default=1)
            levels[-1] += 4 * last * max(0, times - 1)
            last *= times
            at = match.end()
            continue
        if text[at] == "(":
            levels.append(0)
        elif text[at] == ")" and len(levels) > 1:
            last = levels.pop()
            levels[-1] += last
        else:
            at += text[at] == "\\"
            last = 1
            levels[-1] += 1
        at += 1
    return 1 + sum(levels) // 4
