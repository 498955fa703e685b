"""Genuine exchanges with Azure, read at test time: one JSON line each, one file per recording. Used
by every module beside it.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ROOT = Path(__file__).parents[2]
MANAGEMENT = "management.azure.com"
_TEXT = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Exchange:
    """One request and what Azure answered. `sent` and `body` are parsed JSON, or text where it was
    none.

    `snapshot`: the command meant a share's snapshot, which it said in a header that the recorder
    did not keep.
    """

    index: int
    method: str
    url: str
    sent: Any
    status: int
    headers: dict[str, str]
    body: Any
    snapshot: bool = False

    @cached_property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @cached_property
    def path(self) -> str:
        return unquote(urlsplit(self.url).path)

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @cached_property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Recording:
    """`subscription` is what the recorder wrote in place of the subscription's id."""

    name: str
    exchanges: list[Exchange]
    subscription: str = _TEXT


def folder() -> Path | None:
    """Where the recordings lie: MOORAGE_RECORDINGS, or `shared/azure/recordings` beside the
    checkout; None without them.
    """
    named = os.environ.get("MOORAGE_RECORDINGS")
    places = (
        [Path(named)]
        if named
        else [up / "shared" / "azure" / "recordings" for up in (ROOT.parent, *ROOT.parents[1:3])]
    )
    return next((place for place in places if place.is_dir()), None)


def load(path: Path) -> Recording:
    text = path.read_text().replace(f"{MANAGEMENT}:443/", f"{MANAGEMENT}/")
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    exchanges = [
        Exchange(
            line["i"],
            line["method"],
            line["url"],
            line.get("reqBody"),
            line["status"],
            line.get("headers", {}),
            line.get("body"),
            "--snapshot" in (line.get("args") or "").split() and line["method"] != "PUT",
        )
        for line in lines
    ]
    return Recording(path.stem, exchanges)
