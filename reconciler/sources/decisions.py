"""Who decided what: one event for each decision of a person, such as an approval, a rollback, a
pause or a restart, whether by a command or on the page. `policy`, `orders`, `cli.plan_file` and
`cli.restart` note it beside the decision.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence

from reconciler.api.reasons import Reason
from reconciler.engine.events import normal
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store
from reconciler.engine.waiting import Waiting

SOMEBODY = "somebody"
NAMED = 3  # objects of an approval that are named one by one


def caller() -> str:
    """Who runs this command, as `user@host`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        user = SOMEBODY
    return f"{user}@{socket.gethostname()[:253]}"


def note_decision(store: Store, document: DocumentRef, what: str, who: str, at: float) -> None:
    """`what` begins with a verb in the past; `at` in seconds since 1970."""
    store.add_event(normal(Reason.DECIDED, f"{who} {what}", document, document), at)


def note_approval(store: Store, waits: Waiting, who: str, at: float) -> None:
    """Note that `who` approved what waits in one document."""
    ends = [f"{'delete' if each.gone else 'replace'} {each.key}" for each in waits.ends]
    changes = [
        f"{'change' if each.exists else 'create'} {each.key}"
        for each in (waits.changes if waits.manual else ())
    ]
    note_decision(store, waits.document, f"approved: {listed([*ends, *changes])}", who, at)


def listed(deeds: Sequence[str]) -> str:
    more = len(deeds) - NAMED
    return ", ".join(deeds[:NAMED]) + (f" and {more} more" if more > 0 else "")
