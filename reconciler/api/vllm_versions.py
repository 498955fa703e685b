"""Which vLLM an image holds, whether this release was tested with it, and which flags it takes.

`vllm_flags.json` was made from vLLM's own argument parser; a slip in a flag is found here and not
by a booting GPU.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.api.fields import Fault
from serving.preflight import SUPPORTED_VLLM

_TAG = re.compile(r"(?P<repository>[^@]+?)(:(?P<tag>[\w.-]+))?(@sha256:[0-9a-f]{64})?", re.ASCII)
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)(?![\d.])")
_STOCK = "vllm/vllm-openai"


def version_of(image: str | None) -> str | None:
    """The vLLM version that `image` (None: the pinned one) says it holds; None when it does not
    say.
    """
    if image is None:
        return SUPPORTED_VLLM[-1]
    repository, tag = _parts(image)
    found = _VERSION.match(tag)
    return found[1] if found and "vllm" in repository.rpartition("/")[2] else None


def image_faults(image: str | None) -> Iterator[Fault]:
    """An image whose vLLM is known not to be one that the serving runtime was tested with."""
    if image is None:
        return
    version, (repository, _) = version_of(image), _parts(image)
    stock = repository.removeprefix("docker.io/") == _STOCK
    if version not in SUPPORTED_VLLM and (version or (stock and "@" not in image)):
        what = f"vLLM {version}" if version else "a vLLM whose version its name does not tell"
        tested = ", ".join(f"{repository if stock else _STOCK}:v{one}" for one in SUPPORTED_VLLM)
        yield Fault(
            f"image {image!r} holds {what}; adapters are changed inside vLLM, so only tested"
            " versions are taken",
            f"write {tested}",
            ("engine", "image"),
        )


def flag_faults(image: str | None, args: Mapping[str, Any]) -> Iterator[Fault]:
    """Flags that the image's vLLM does not know, or takes with another kind of value."""
    kinds = _flags().get(version_of(image) or "")
    for name, value in args.items() if kinds else ():
        kind = kinds.get(name) if kinds else None
        if "." in name and kinds and name.partition(".")[0] in kinds:
            continue
        if kind is None:
            close = difflib.get_close_matches(name, kinds or (), n=1, cutoff=0.75)
            hint = (
                f"did you mean {close[0]}?" if close else "`vllm serve --help=all` lists its flags"
            )
            yield Fault(f"vLLM has no flag {name!r}", hint, ("engine", "args", name), key=True)
        elif wrong := _misfit(kind, value):
            yield Fault(f"flag {name!r} {wrong[0]}", wrong[1], ("engine", "args", name))


def _misfit(kind: str, value: object) -> tuple[str, str] | None:
    if kind == "switch":
        return None if isinstance(value, bool) else ("is switched on or off", "write true or false")
    if kind == "flag":
        return None if value is True else ("can only be switched on", "write true, or leave it out")
    if isinstance(value, bool):
        return "takes a value", "write it after the colon"
    if kind == "value" and isinstance(value, tuple):
        return "takes one value, not a list", "write one"
    return None


def _parts(image: str) -> tuple[str, str]:
    match = _TAG.fullmatch(image)
    return (match["repository"], match["tag"] or "") if match else (image, "")


@cache
def _flags() -> dict[str, dict[str, str]]:
    """Version -> flag -> kind of value: `switch`, `flag` (on only), `value` or `list`."""
    data = json.loads(Path(__file__).with_name("vllm_flags.json").read_text("utf-8"))
    return {
        version: {name: kind for kind, names in kinds.items() for name in names}
        for version, kinds in data.items()
    }
