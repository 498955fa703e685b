"""The decisions that the page offers, and who may make them: the daemon carries them out, the token
says who may.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.api.resources import Return
from reconciler.engine.waiting import Waiting
from reconciler.web.tokens import is_secret


class Decisions(Protocol):
    """The two decisions that the page offers; both take effect at once."""

    def approve(self, waits: Waiting, who: str) -> None:
        """Let what waits go ahead, once; `who` stands in the timeline."""
        ...

    def roll_back(self, service: str, to: Return, who: str) -> None:
        """Let an earlier generation serve."""
        ...

    def strategy(self, service: str) -> str:
        """The rollout strategy of a service, as its document says it."""
        ...


@dataclass(frozen=True)
class WriteToken:
    """The token of those who may decide; `place` says where a person finds it."""

    value: str
    place: str

    def fits(self, given: str) -> bool:
        return is_secret(given, self.value)


def keep_token(folder: Path, given: str) -> WriteToken:
    """The token `given` by the settings; else that of the file in `folder`, which only its owner
    can read and which is made where there is none.
    """
    import os
    import secrets

    if given:
        return WriteToken(given, "MOORAGE_PAGE_TOKEN")
    path = folder / "page-token"
    try:
        known = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        known = ""
    if len(known) >= 32:
        return WriteToken(known, str(path))
    value = secrets.token_urlsafe(32)
    try:
        path.unlink(missing_ok=True)
        number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(value + "\n")
    except OSError:
        return WriteToken("", str(path))  # nobody can read the token, so nobody can decide
    return WriteToken(value, str(path))
