"""What a report to paste leaves out: values of documents and settings that are or may be secrets,
also where a log repeats them. `diagnose` collects them and cleans the whole report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
SHORTEST = 8  # characters of a value that is looked for in other texts; shorter ones are words
_NAME = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|key|credential|sas|connection-?string)s?"
_SECRET = re.compile(rf"{_NAME}$", re.IGNORECASE)
# `--token=x`, `TOKEN=x`, `--token x` within one text, and the password of a URL.
_GIVEN = re.compile(
    rf"(?P<name>[\w.-]*{_NAME}=|--?[\w-]*{_NAME}\s+)(?P<value>[^\s'\"]+)", re.IGNORECASE
)
_LOGIN = re.compile(r"(?P<name>://[^/\s:@]*:)(?P<value>[^@\s/]+)(?=@)")
# What a program says in its log: `password: x`, `"token": "x"`, `sig=x`, `Authorization: Bearer x`.
_SAID = re.compile(
    rf"(?P<name>[\w.-]{{0,40}}(?:{_NAME}|sig)[\"']?[ \t]{{0,4}}[=:][ \t]{{0,4}}[\"']?"
    r"|\b(?:bearer|basic)[ \t]{1,4}(?=\S{12}))(?P<value>[^\s'\",;&]+)",
    re.IGNORECASE,
)
# Keys that are known by their form: of GitHub, GitLab, OpenAI, Hugging Face, AWS, Moorage; a JSON
# web token, and the key of a storage account.
_FORMS = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{16,}|hf_\w{16,}"
    r"|AKIA[A-Z0-9]{16}|mk-[\w-]{16,}|eyJ[\w-]+\.[\w-]+\.[\w-]*|[A-Za-z0-9+/]{86}==)"
)
_SETTINGS = re.compile(r"^(?:MOORAGE_NOTIFY_URL|(?:MOORAGE|AZURE|HF)_\w*)$")


class HiddenValues:
    """The values found so far. `environ` gives those of settings that hold secrets."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values = {
            value
            for name, value in environ.items()
            if _SETTINGS.match(name) and (_SECRET.search(name) or name == "MOORAGE_NOTIFY_URL")
        }

    def of_document(self, value: Any, name: str = "") -> Any:
        """`value` with what may be secret hidden; `name` is that of the field."""
        if isinstance(value, dict):
            return {key: self.of_document(each, str(key)) for key, each in value.items()}
        if isinstance(value, list):
            before = ["", *value]
            return [
                self.of_document(each, name if _is_flag(each) else _flag(flag))
                for flag, each in zip(before, value, strict=False)
            ]
        if value is not None and (name == "value" or _named(name, value)):
            self._values.add(str(value))
            return HIDDEN
        return self._in_text(value) if isinstance(value, str) else value

    def clean(self, text: str) -> str:
        """`text` without the values that were found, and without what looks like a secret."""
        for value in sorted(self._values, key=len, reverse=True):
            if len(value) >= SHORTEST:
                text = text.replace(value, HIDDEN)
        return _FORMS.sub(HIDDEN, _LOGIN.sub(_without_value, _SAID.sub(_without_value, text)))

    def _in_text(self, text: str) -> str:
        def hide(match: re.Match[str]) -> str:
            self._values.add(match["value"])
            return match["name"] + HIDDEN

        return _LOGIN.sub(hide, _GIVEN.sub(hide, text))


def _without_value(match: re.Match[str]) -> str:
    """A number is a count, and what is hidden already says so."""
    value = match["value"]
    return match[0] if value.isdecimal() or value[0] == "(" else match["name"] + HIDDEN


def _named(name: str, value: Any) -> bool:
    """Whether the name of a field or a flag says that its text is secret; a count is not."""
    return isinstance(value, str) and not value.isdecimal() and bool(_SECRET.search(name))


def _is_flag(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("-")


def _flag(value: Any) -> str:
    """The name in a flag that stands alone, whose value is the next word; else nothing."""
    return value.lstrip("-") if _is_flag(value) and "=" not in value else ""
