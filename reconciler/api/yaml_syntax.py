"""The parser's syntax errors in a user's words: where, what is wrong, what would be right."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from reconciler.api.problems import Problem

# (part of the parser's own words, what is wrong, what would be right); the first that fits is taken
_WORDS = (
    ("found character '\\t'", "a tab stands where YAML wants spaces", "indent with spaces"),
    ("but found '\\x00'", "the file ends in the middle of something", "finish the line"),
    ("found a tab character", "a tab stands where YAML wants spaces", "indent with spaces"),
    (
        "mapping values are not allowed",
        "a ':' stands where no key can be",
        "indent as the line above, or put the value in quotes",
    ),
    (
        "could not find expected ':'",
        "a ':' is missing after this key",
        "write key: value, with a space after the colon",
    ),
    ("found character '@'", "a plain value cannot start with '@'", "put the value in quotes"),
    ("found character '`'", "a plain value cannot start with '`'", "put the value in quotes"),
    ("found character '%'", "a plain value cannot start with '%'", "put the value in quotes"),
    (
        "found unknown escape character",
        "the text has an unknown \\ escape",
        "use single quotes, or write \\\\ for a backslash",
    ),
    (
        "but found '-'",
        "a list item is not indented as the lines before it",
        "indent all items of a list alike",
    ),
    (
        "<block end>",
        "this line is not indented as the lines before it",
        "indent all keys of a mapping alike",
    ),
)


def syntax_problem(file: Path, text: str, error: MarkedYAMLError | ReaderError) -> Problem:
    """The problem for a file whose YAML ends in `error`."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        return Problem(
            file,
            line,
            column,
            "this control character cannot be in YAML",
            "remove it, or write \\x.. in double quotes",
        )
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = str(error.problem or error.context or "it cannot be read").strip()
    opened = error.context_mark
    if opened and any(
        words in said
        for words in ("end of stream", "<stream end>", "end of document", "document separator")
    ):
        what = "quoted text" if "scalar" in str(error.context) else "bracket"
        return Problem(
            file, opened.line + 1, opened.column + 1, f"this {what} is never closed", "close it"
        )
    if opened and "flow" in str(error.context):
        where = f"line {opened.line + 1}, column {opened.column + 1}"
        return Problem(
            file,
            line,
            column,
            f"the bracket opened in {where} is not closed before this",
            "add a ',' or close it",
        )
    for words, message, hint in _WORDS:
        if words in said:
            return Problem(file, line, column, message, hint)
    return Problem(file, line, column, f"this is not valid YAML: {said}", "correct the line")
