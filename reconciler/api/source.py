"""Where bytes come from: `./folder`, `share://path already there`, `hf://org/name@revision`. Pure
text, nothing is opened.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator

from reconciler.api.fields import Fault, refusal
from reconciler.api.reasons import Cause

_HUB = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+(/[\w.-]+)*))?", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:(/|$)")
_NOT_ON_SMB = re.compile(r'[\x00-\x1f"\\:|<>*?]')
# the ending of an adapter's source that means: the newest one below this folder of the share
NEWEST = "/**"
_PART, _LENGTH = 255, 2048  # bytes of a name, and of a path, on Linux and on SMB alike
FORMS = "./folder, share://path or hf://org/name@revision"


class SourceKind(StrEnum):
    """The scheme of a source; a local folder has none."""

    FOLDER = "folder"
    SHARE = "share"
    HUB = "hf"


class Source(NamedTuple):
    """A parsed source; `path` is a folder as written, a path below the share's root, or `org/name`;
    `revision` for `hf` only.
    """

    kind: SourceKind
    path: str
    revision: str = ""


@dataclass(frozen=True)
class SourceRef:
    """The identity of a source, used as the key of every map over sources.

    The text alone says too little: `share://adapters/style` is another folder in each Environment.
    `service` is set where the source is chosen for one service: the newest adapter below a folder
    depends on the base model it must fit.
    """

    environment: str
    text: str
    service: str = ""

    @classmethod
    def of(cls, environment: str, text: str, service: str) -> Self:
        return cls(environment, text, service if text.endswith(NEWEST) else "")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Missing:
    """Why a source is not here, or cannot be used as it is; `reason` is a condition's. With `waits`
    it is on its way, and nothing is wrong.
    """

    reason: Cause
    message: str
    waits: bool = False


def parse_source(text: str) -> Source:
    """Read a source as a document holds it.

    Raises:
        PydanticCustomError: a `refusal` that says which form would be right.
    """
    scheme, separator, rest = text.partition("://")
    long = max(len(part.encode("utf-8", "replace")) for part in text.split("/"))
    if long > _PART or len(text) > _LENGTH:
        fault = f"source {text[:40]!r}... is longer than a path can be"
        raise refusal(Fault(fault, f"write {FORMS}"))
    if not separator:
        return _folder(text)
    if scheme == SourceKind.SHARE:
        return _share(rest)
    if scheme == SourceKind.HUB:
        return _hub(rest)
    raise refusal(
        Fault(f"source {text!r} has the unknown scheme {scheme + '://'!r}", f"write {FORMS}")
    )


def _folder(text: str) -> Source:
    if not text.strip():
        raise refusal(Fault("the source is empty", f"write {FORMS}"))
    if "\0" in text:
        raise refusal(Fault("the source holds a NUL character", f"write {FORMS}"))
    if text.startswith("~"):
        raise refusal(
            Fault(
                f"source {text!r} starts with '~', which is not expanded",
                "write the folder relative to this file",
            )
        )
    path = text.replace("\\", "/")  # a document that was written on Windows means the same folder
    if _DRIVE.match(path) and os.name != "nt":
        raise refusal(
            Fault(
                f"source {text!r} is a folder of a Windows machine",
                "write the folder relative to this file",
            )
        )
    return Source(SourceKind.FOLDER, path)


def _share(path: str) -> Source:
    parts = path.strip("/").split("/")
    if not path.strip("/"):
        raise refusal(
            Fault(
                "share:// names no folder",
                "write the path below the share's root, such as share://models/phi",
            )
        )
    for part in parts[:-1] if len(parts) > 1 and parts[-1] == "**" else parts:
        if part in {"", ".", ".."} or _NOT_ON_SMB.search(part) or part[-1] in " .":
            raise refusal(
                Fault(
                    f"share://{path} holds the part {part!r}, which a file share cannot have",
                    "write plain folder names between '/'",
                )
            )
    return Source(SourceKind.SHARE, "/".join(parts))


def _hub(rest: str) -> Source:
    match = _HUB.fullmatch(rest)
    if not match:
        raise refusal(
            Fault(f"hf://{rest} is not a model on Hugging Face", "write hf://org/name@revision")
        )
    if not match["revision"]:
        raise refusal(
            Fault(
                f"hf://{rest} has no revision, so what is served could change unseen",
                f"write hf://{rest}@ and a commit or tag",
            )
        )
    return Source(SourceKind.HUB, match["name"], match["revision"])


def _checked(text: str) -> str:
    parse_source(text)
    return text


def _checked_fixed(text: str) -> str:
    if parse_source(text).kind is SourceKind.SHARE and text.endswith(NEWEST):
        raise refusal(
            Fault(f"{text} means the newest adapter there, and this is none", "name the folder")
        )
    return text


def _checked_code(text: str) -> str:
    if parse_source(text).kind is SourceKind.HUB:
        raise refusal(Fault(f"code cannot come from {text}", "write ./folder or share://path"))
    return _checked_fixed(text)


AdapterText = Annotated[str, AfterValidator(_checked)]
SourceText = Annotated[str, AfterValidator(_checked_fixed)]
CodeText = Annotated[str, AfterValidator(_checked_code)]
