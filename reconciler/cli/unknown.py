"""What a command says of a name that the last run from this state directory did not have: the names
that it had, the one that was meant, or how to begin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from reconciler.cli.exits import CommandError

if TYPE_CHECKING:
    from reconciler.engine.store import Store

MOST = 12  # names that a sentence lists


def unknown(
    kind: str, name: str, known: Iterable[str], title: str, place: str = " in these documents"
) -> CommandError:
    """The error for `name`; `kind` is the singular of what it should be, `known` all that are."""
    names = sorted(known)
    if not names:
        return CommandError(
            f"No {kind} {name!r} is known here on the {title}; `moorage up` deploys and observes."
        )
    there = listed(f"{kind}s", name, names)
    return CommandError(f"There is no {kind} {name!r}{place} on the {title}; {there}")


def listed(kinds: str, name: str, names: Sequence[str]) -> str:
    """The names that there are, and the one that was meant."""
    from difflib import get_close_matches

    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    close = get_close_matches(name, names, 1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return f"{kinds}: {', '.join(names[:MOST]) or 'none'}{more}.{meant}"


def services_in(store: Store | None) -> list[str]:
    """The names of the services, also of one whose document was removed while it still runs."""
    if store is None:
        return []
    documents = {row.ref for row in store.documents()} | {each.document for each in store.objects()}
    return sorted(each.name for each in documents if each.kind == "InferenceService")


def check_service(store: Store | None, service: str, title: str) -> Store:
    """The store, if it has the service.

    Raises:
        CommandError: it has not.
    """
    if store is None or service not in services_in(store):
        raise unknown("service", service, services_in(store), title)
    return store
