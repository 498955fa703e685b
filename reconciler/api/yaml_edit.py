"""Changes values in a YAML text and leaves all other characters unchanged: comments, order, quotes,
anchors, spaces. A change that would change something else too is refused with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reconciler.api.problems import Problem
from reconciler.api.yaml_node import Position, scalar
from reconciler.api.yaml_spans import Span, spans
from reconciler.api.yaml_tree import read_documents

Steps = tuple[str, ...]
LEFT_OUT = object()  # as a value: removes the field
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./@+=-]*")


class EditError(Exception):
    """The text cannot be changed in this one place; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


def edited(text: str, number: int, changes: Mapping[Steps, Any]) -> str:
    """The text with new values at the paths of its document `number`, counted from 0.

    Raises:
        EditError: something else would change with it.
    """
    wanted = plain(text)
    for steps, value in changes.items():
        wanted[number] = with_value(wanted[number], steps, value)
        span = spans(text)[number]
        made = _Editor(text).put(span, steps, value, plain(text)[number])
        for edit in sorted(made, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        if _without_nothing(plain(text)) != _without_nothing(wanted):
            where = ".".join(steps)
            raise EditError(
                span.line, f"{where} cannot be changed by itself here: change it by hand"
            )
    return text


def plain(text: str) -> list[Any]:
    """The documents as values; EditError where the text is no YAML any more."""
    problems: list[Problem] = []
    nodes = read_documents(Path(), text.encode(), problems)
    if problems:
        raise EditError(problems[0].line, problems[0].message)
    return [node.plain() for node in nodes]


def render(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{render(k)}: {render(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(render, value)) + "]"
    if isinstance(value, str):
        read_back = scalar(Position(1, 1), value, None, plain=True).scalar
        safe = _PLAIN.fullmatch(value) and read_back == value
        return value if safe else _quoted(value)
    return json.dumps(value)


class _Editor:
    """Makes the edits of one change."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"

    def put(self, span: Span, steps: Steps, value: Any, now: Any) -> Iterator[_Edit]:
        """`now` is the value of `span`, with what aliases and merges bring."""
        _refuse_shared(span)
        if not steps:
            yield from self.replace(span, value)
            return
        if span.kind != "mapping":
            nested = _nested(steps, value)
            if value is not LEFT_OUT:
                yield from self.replace(span, nested)
            return
        pair = span.entry(steps[0])
        if pair is None:
            merged = now.get(steps[0]) if isinstance(now, Mapping) else None
            whole = with_value(merged, steps[1:], value) if merged is not None else None
            if value is LEFT_OUT:
                if merged is not None:
                    raise EditError(span.line, f"{steps[0]} comes from a merge (<<)")
                return
            # A merged or aliased value is shared, so a changed copy of it is written here.
            added = whole if merged is not None else _nested(steps[1:], value)
            yield self.insert(span, steps[0], added)
        elif len(steps) == 1 and value is LEFT_OUT:
            yield self.remove_entry(span, pair)
        elif len(steps) > 1 and pair[1].kind == "alias":
            whole = with_value(now[steps[0]], steps[1:], value)
            yield _Edit(pair[1].start, pair[1].end, render(whole))
        else:
            yield from self.put(pair[1], steps[1:], value, now[steps[0]])

    def replace(self, span: Span, value: Any) -> Iterator[_Edit]:
        """Change as little of `span` as makes it `value`."""
        _refuse_shared(span)
        if span.kind == "mapping" and isinstance(value, Mapping) and span.entries:
            yield from self._mapping(span, value)
        elif span.kind == "sequence" and isinstance(value, list | tuple) and span.items and value:
            yield from self._sequence(span, value)
        elif span.kind == "scalar" and not isinstance(value, Mapping | list | tuple):
            yield from self._scalar(span, value)
        elif span.kind in ("mapping", "sequence") and not span.flow:
            # The whole block makes room for one line; what names it stands before it.
            start = self._after_key(span)
            yield _Edit(start, span.last, f" {_prefix(span)}{render(value)}")
        else:
            yield _Edit(span.start, span.end, f"{self._space(span)}{_prefix(span)}{render(value)}")

    def _space(self, span: Span) -> str:
        """An empty value begins where its colon ends."""
        return " " if self.text[max(0, span.start - 1) : span.start] == ":" else ""

    def _scalar(self, span: Span, value: Any) -> Iterator[_Edit]:
        if span.kind == "scalar" and span.value == value and type(span.value) is type(value):
            return
        shown = render(value)
        if isinstance(value, str) and span.style == "'" and value.isprintable():
            shown = "'" + value.replace("'", "''") + "'"
        elif isinstance(value, str) and span.style:
            shown = _quoted(value)
        end = self.newline if self.text[span.start : span.end].endswith("\n") else ""
        yield _Edit(span.start, span.end, f"{self._space(span)}{_prefix(span)}{shown}{end}")

    def _mapping(self, span: Span, value: Mapping[str, Any]) -> Iterator[_Edit]:
        known = {key.value: (key, item) for key, item in span.entries}
        added = {name: each for name, each in value.items() if name not in known}
        gone = [pair for name, pair in known.items() if name not in value]
        if len(gone) == len(known):
            raise EditError(span.line, "nothing of it would stay: change it by hand")
        for name, (_, item) in known.items():
            if name in value:
                yield from self.replace(item, value[name])
        for pair in gone:
            yield self.remove_entry(span, pair)
        if added:
            yield self._insert(span, added)

    def _sequence(self, span: Span, value: Sequence[Any]) -> Iterator[_Edit]:
        """Items with names are matched by them, others by their places."""
        old = [_name(item) for item in span.items]
        new = [each.get("name") if isinstance(each, Mapping) else None for each in value]
        if all(isinstance(name, str) for name in (*old, *new)):
            places = {name: index for index, name in enumerate(new)}
            kept = [
                (item, places[name])
                for item, name in zip(span.items, old, strict=True)
                if name in places
            ]
            gone = [item for item, name in zip(span.items, old, strict=True) if name not in places]
            added = [each for each, name in zip(value, new, strict=True) if name not in old]
        else:
            kept = [(item, index) for index, item in enumerate(span.items[: len(value)])]
            gone, added = span.items[len(value) :], list(value[len(span.items) :])
        for item, index in kept:
            yield from self.replace(item, value[index])
        for item in gone:
            yield self._remove_item(span, item)
        if added:
            yield self._append(span, added)

    def insert(self, span: Span, name: str, value: Any) -> _Edit:
        """A further entry of a mapping."""
        return self._insert(span, {name: value})

    def _insert(self, span: Span, added: Mapping[str, Any]) -> _Edit:
        lines = [f"{render(name)}: {render(value)}" for name, value in added.items()]
        if span.flow:
            return self._into_brackets(span, [value for _, value in span.entries], lines)
        column = span.entries[0][0].column
        return self._new_lines(span, [" " * column + line for line in lines])

    def _append(self, span: Span, added: Sequence[Any]) -> _Edit:
        shown = [render(value) for value in added]
        if span.flow:
            return self._into_brackets(span, span.items, shown)
        column = self._dash(span.items[0]) - self._line_start(span.items[0].start)
        return self._new_lines(span, [" " * column + "- " + line for line in shown])

    def _into_brackets(self, span: Span, there: Sequence[Span], shown: Sequence[str]) -> _Edit:
        at = (
            there[-1].last
            if there
            else self.text.index("{" if span.kind == "mapping" else "[", span.start) + 1
        )
        return _Edit(at, at, (", " if there else "") + ", ".join(shown))

    def _new_lines(self, span: Span, lines: Sequence[str]) -> _Edit:
        at, text = span.last, self.newline.join(lines)
        if at and self.text[at - 1] == "\n":
            return _Edit(at, at, text + self.newline)
        at = self._line_end(at)
        return _Edit(at, at, self.newline + text)

    def remove_entry(self, span: Span, pair: tuple[Span, Span]) -> _Edit:
        key, value = pair
        if span.flow:
            return self._out_of_brackets(key.start, value.last)
        start, end = self._line_start(key.start), self._next_line(value.last)
        if self.text[start : key.start].strip():
            raise EditError(key.line, f"{key.value} shares its line: remove it by hand")
        return _Edit(start, end, "")

    def _remove_item(self, span: Span, item: Span) -> _Edit:
        if span.flow:
            return self._out_of_brackets(item.start, item.last)
        start = self._line_start(self._dash(item))
        return _Edit(start, self._next_line(item.last), "")

    def _out_of_brackets(self, start: int, end: int) -> _Edit:
        """With the comma after it, or else the one before it."""
        after = re.compile(r"\s*,\s*").match(self.text, end)
        if after:
            return _Edit(start, after.end(), "")
        before = re.search(r"\s*,\s*$", self.text[:start])
        return _Edit(before.start() if before else start, end, "")

    def _dash(self, item: Span) -> int:
        return self.text.rindex("-", 0, item.start)

    def _after_key(self, span: Span) -> int:
        """Behind the colon or dash that stands before a block."""
        before = self.text[: span.start]
        return len(before.rstrip(" \r\n")) if not span.anchor else span.start - 1

    def _line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        end = len(self.text) if end < 0 else end
        return end - 1 if self.text[end - 1 : end] == "\r" else end

    def _next_line(self, at: int) -> int:
        if at and self.text[at - 1] == "\n":
            return at
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end + 1


def _quoted(text: str) -> str:
    """In double quotes, with what cannot be seen as its number."""
    shown = (
        letter if letter.isprintable() or letter in "\n\t\r" else f"\\U{ord(letter):08x}"
        for letter in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    plain_line = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(plain_line.get(letter, letter) for letter in shown) + '"'


def _refuse_shared(span: Span) -> None:
    if span.users:
        text = f"&{span.anchor} is used elsewhere too (*{span.anchor}), and would change there"
        raise EditError(span.line, text)
    if span.tagged:
        raise EditError(span.line, "a value with a tag (!!) is changed by hand")


def _prefix(span: Span) -> str:
    """The anchor stays before a value that is replaced."""
    return f"&{span.anchor} " if span.anchor and span.kind != "alias" else ""


def _name(item: Span) -> Any:
    pair = item.entry("name") if item.kind == "mapping" else None
    return pair[1].value if pair else None


def _nested(steps: Steps, value: Any) -> Any:
    return {steps[0]: _nested(steps[1:], value)} if steps else value


def with_value(now: Any, steps: Steps, value: Any) -> Any:
    """A copy of `now` with the value at the path; LEFT_OUT removes what is there."""
    if not steps:
        return value
    copy = dict(now) if isinstance(now, Mapping) else {}
    inner = with_value(copy.get(steps[0]), steps[1:], value)
    if inner is LEFT_OUT:
        copy.pop(steps[0], None)
    else:
        copy[steps[0]] = inner
    return copy


def _without_nothing(value: Any) -> Any:
    """Without fields of no value: an empty `adapters:` is no field, see `fields`."""
    if isinstance(value, Mapping):
        inner = {name: _without_nothing(each) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each not in (None, {})}
    return [_without_nothing(each) for each in value] if isinstance(value, list | tuple) else value
