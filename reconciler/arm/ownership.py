"""Whose a resource is: one set of documents', another set's, or nobody's. Tags say so; `tags` knows
their names, `sources.identity` where the identity of a set comes from.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from reconciler.api import tags
from reconciler.api.reasons import Reason
from reconciler.engine.errors import NotOwned

APPLIED_LIMIT = 120  # characters of a host's name that are worth a tag


@dataclass
class Ownership:
    """The identity of one set: `set_id`, except in Environments that `declared` gives an owner.

    `former` are those that its documents gave before: what carries them is this set's, too. `taken`
    are other sets' that a person let it take over: what documents name of it becomes its own by the
    next write, and what they do not name stays the other set's.
    """

    set_id: str
    declared: Mapping[str, str] = field(default_factory=dict)
    former: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()

    def owner_of(self, environment: str) -> str:
        """What the tag of a resource of `environment` says."""
        return self.declared.get(environment, self.set_id)

    def made(self, resource: Mapping[str, Any] | None) -> bool:
        """Whether this set made the resource, or has taken it over."""
        owner = tags.tag(resource, tags.OWNER)
        return owner in {self.set_id, *self.declared.values(), *self.former}

    def made_by_another(self, resource: Mapping[str, Any] | None) -> bool:
        """Whether another set made the resource. What this set may take over is still the other
        set's, until a write has changed its tag.
        """
        return tags.tag(resource, tags.OWNER) is not None and not self.made(resource)

    def owns(self, resource: Mapping[str, Any] | None) -> bool:
        """Whether this set may write to the resource, because it made it or may take it over."""
        return self.made(resource) or tags.tag(resource, tags.OWNER) in self.taken

    def another(self, resource: Mapping[str, Any] | None) -> str | None:
        """The other set that the resource belongs to, if there is one."""
        owner = tags.tag(resource, tags.OWNER)
        return None if owner is None or self.owns(resource) else owner

    def refuse_another(self, what: str, resource: Mapping[str, Any]) -> None:
        """Leave alone what another set made. `what` is a kind and a name.

        Raises:
            NotOwned: with whose it is, when it was last written to, and how to take it over.
        """
        owner = self.another(resource)
        if owner is None:
            return
        applied = tags.tag(resource, tags.APPLIED)
        raise NotOwned(
            Reason.OWNED_BY_ANOTHER,
            f"{what} belongs to the set of documents {owner}"
            f"{f' (last applied {applied})' if applied else ''}; nothing is written to it. Choose"
            f" another name, or take it over with `moorage take-over {owner}`",
        )


def applied() -> dict[str, str]:
    """The tag that says from where and when a resource was last written. It is sent with writes and
    never compared, so it causes none.
    """
    when = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {tags.APPLIED: f"{when} from {socket.gethostname()[:APPLIED_LIMIT]}"}
