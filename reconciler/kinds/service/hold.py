"""The decision against a revision, kept in a tag of its container app, so that it survives the
daemon that made it: the documents ask for `refused`, and `serves` runs instead.

`rollout` follows it, `container_app` writes and removes it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from reconciler.api import tags
from reconciler.api.decided import ASKED

# How Azure begins its message, before it says what is wrong; a tag has no room for that.
_OPENING = re.compile(
    r"Failed to provision revision for container app '[^']*'\. Error details: "
    r"(?:The following field\(s\) are either invalid or missing\. )?"
)
LONGEST = 256  # characters of a tag's value
BY_PERSON = f"{ASKED} it"


@dataclass(frozen=True)
class Hold:
    """`refused` and `serves` are names of revisions; `cause` is a sentence for people."""

    refused: str
    serves: str
    cause: str = ""

    @classmethod
    def on(cls, found: Mapping[str, Any]) -> Self | None:
        """The decision in the tag of the app `found`; None if the tag is missing or unreadable."""
        refused, _, rest = (tags.tag(found, tags.HELD) or "").partition(" ")
        serves, _, cause = rest.partition(" ")
        app = str(found["name"])
        if not refused or not serves:
            return None
        return cls(f"{app}--{refused}", f"{app}--{serves}", cause)

    @property
    def by_person(self) -> bool:
        return self.cause.startswith(BY_PERSON)

    @property
    def text(self) -> str:
        """The tag's value."""
        suffixes = (name.rpartition("--")[2] for name in (self.refused, self.serves))
        text = " ".join([*suffixes, " ".join(_OPENING.sub("", self.cause).split())])
        return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
