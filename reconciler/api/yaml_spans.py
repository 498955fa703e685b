"""The exact place of each value in a YAML text, so that `yaml_edit` can change one value and
nothing else. Built on ruamel's events, as `yaml_tree` is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from reconciler.api.yaml_node import Position, scalar


@dataclass(eq=False)
class Span:
    """One value as it is written: `text[start:end]`. `kind` is scalar, mapping, sequence or alias.
    `value` is a scalar's value, `style` its quotes; `flow` says that a collection has brackets.
    `users` counts the aliases of an anchor that stands before the value.
    """

    kind: str
    start: int
    end: int
    column: int = 0
    line: int = 0
    value: Any = None
    style: str = ""
    flow: bool = False
    anchor: str = ""
    tagged: bool = False
    users: int = 0
    entries: list[tuple[Span, Span]] = field(default_factory=list)
    items: list[Span] = field(default_factory=list)

    def entry(self, key: str) -> tuple[Span, Span] | None:
        """The key and value that are written here; what a merge brings is not."""
        return next((pair for pair in self.entries if pair[0].value == key), None)

    @property
    def last(self) -> int:
        """Where its last character ends. ruamel ends a block where the next token begins."""
        if self.kind == "mapping" and not self.flow and self.entries:
            return self.entries[-1][1].last
        if self.kind == "sequence" and not self.flow and self.items:
            return self.items[-1].last
        return self.end


def spans(text: str) -> list[Span]:
    """The documents of a text that is known to be valid, empty ones left out."""
    reading = _SpanReader(text)
    for event in YAML(typ="safe", pure=True).parse(text):
        reading.take(event)
    return [each for each in reading.found if each.kind != "scalar" or each.value is not None]


class _SpanReader:
    """Turns events into spans; one per text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Span] = []
        self._open: list[tuple[Span, list[Span]]] = []
        self._anchors: dict[str, Span] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._open.append((self._named(_begun(event)), []))
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            span, children = self._open.pop()
            self._add(self._ended(span, children, event.end_mark.index))
        elif isinstance(event, ScalarEvent):
            self._add(self._named(_scalar(event)))
        elif isinstance(event, AliasEvent):
            span = _of(event, "alias")
            self._anchors[span.anchor].users += 1
            self._add(span)
        elif isinstance(event, DocumentEndEvent):
            self._anchors.clear()

    def _named(self, span: Span) -> Span:
        if span.anchor:
            self._anchors[span.anchor] = span
        return span

    def _add(self, span: Span) -> None:
        (self._open[-1][1] if self._open else self.found).append(span)

    def _ended(self, span: Span, children: list[Span], end: int) -> Span:
        span.end = end
        if span.kind == "sequence":
            span.items = children
            return span
        span.entries = list(zip(children[::2], children[1::2], strict=True))
        for key, value in span.entries:
            if value.kind == "scalar" and value.start == value.end:
                # Nothing is written: ruamel puts it where the next thing begins.
                value.start = value.end = self.text.index(":", key.end) + 1
        return span


def walk(span: Span) -> Iterator[Span]:
    """It and everything in it."""
    yield span
    for key, value in span.entries:
        yield key
        yield from walk(value)
    for item in span.items:
        yield from walk(item)


def _of(event: NodeEvent, kind: str) -> Span:
    start = event.start_mark
    return Span(
        kind,
        start.index,
        event.end_mark.index,
        start.column,
        start.line + 1,
        anchor=event.anchor or "",
    )


def _begun(event: MappingStartEvent | SequenceStartEvent) -> Span:
    kind = "mapping" if isinstance(event, MappingStartEvent) else "sequence"
    span = _of(event, kind)
    span.flow, span.tagged = bool(event.flow_style), event.tag is not None
    return span


def _scalar(event: ScalarEvent) -> Span:
    span = _of(event, "scalar")
    tag = event.tag
    span.value = scalar(
        Position(span.line, span.column + 1), event.value, tag, plain=event.implicit[0]
    ).scalar
    span.style, span.tagged = event.style or "", tag is not None
    return span
