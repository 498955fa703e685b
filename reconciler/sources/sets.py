"""The set of documents that a state directory works on, and the identities whose resources are its
own. `identity` says which set some files are; here is what the store remembers of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.arm.ownership import Ownership
from reconciler.engine.store import SET_ID, Store
from reconciler.sources.git import GitCheckout
from reconciler.sources.identity import DocumentSet

if TYPE_CHECKING:
    from reconciler.api.loaded import Loaded

_LAST, _FORMER, _TAKEN = "set", "former-owners", "taken-owners"


def last(store: Store) -> DocumentSet | None:
    """The set that was last run on this state and target."""
    return DocumentSet.from_json(store.of_target().get(_LAST))


def remember(store: Store, documents: DocumentSet, checkout: GitCheckout | None = None) -> None:
    """From now on this set is meant by commands that are given no documents."""
    target = store.of_target()
    target.put(SET_ID, documents.identity.id)
    if not documents.partial:
        if checkout:  # by the link: the folder of a commit goes with the commits after it
            files = (checkout.documents,)
            documents = replace(documents, files=files, repository=checkout.shown)
        target.put(_LAST, documents.to_json())


def ownership_of(store: Store, identity: str) -> Ownership:
    """What a set owns, as far as the store remembers it."""
    ownership = Ownership(identity)
    follow(ownership, (), store.of_set(identity))
    return ownership


def follow(ownership: Ownership, documents: Sequence[Loaded], store: Store) -> None:
    """Take the identities that the documents give, and keep those that they gave before: what
    carries one of them is this set's until it is gone.
    """
    declare(ownership, documents)
    ownership.former = _add(store, _FORMER, *ownership.declared.values())
    ownership.taken = _add(store, _TAKEN)


def declare(ownership: Ownership, documents: Sequence[Loaded]) -> None:
    """Take the identities that the documents give, before it is known whether they can be used."""
    # Here because `moorage status` reads which set it shows, and no documents.
    from reconciler.api.documents import Environment

    ownership.declared = {
        loaded.document.metadata.name: loaded.document.spec.owner
        for loaded in documents
        if isinstance(loaded.document, Environment) and loaded.document.spec.owner
    }


def take_over(store: Store, identity: str) -> None:
    """Let the set of `store` have what another one made, as far as its documents name it."""
    _add(store, _TAKEN, identity)


def _add(store: Store, name: str, *identities: str) -> frozenset[str]:
    """Remember these as well; all that are remembered by now."""
    known = frozenset(json.loads(store.get(name) or "[]"))
    if not known.issuperset(identities):
        store.put(name, json.dumps(sorted(known.union(identities))))
    return known.union(identities)
