"""`syncPolicy.automated: false`: the loop only looks until a person approves the document's present version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reconciler.api.documents import Environment, InferenceService
from reconciler.api.loaded import Loaded
from reconciler.engine.external import Desired, DocumentRef, Policy
from reconciler.engine.store import Store


def with_sync_policy(desired: Sequence[Desired], documents: Sequence[Loaded], store: Store) -> list[Desired]:
    """`desired`, with what belongs to an Environment that is not automated turned to Observe unless it was approved."""
    manual = {
        loaded.document.metadata.name
        for loaded in documents
        if isinstance(loaded.document, Environment) and not loaded.document.spec.sync_policy.automated
    }
    held = {DocumentRef("Environment", name) for name in manual}
    held |= {
        DocumentRef("InferenceService", loaded.document.metadata.name)
        for loaded in documents
        if isinstance(loaded.document, InferenceService) and loaded.document.spec.environment in manual
    }
    return [
        replace(item, policy=Policy.OBSERVE)
        if item.document in held and item.policy is Policy.MANAGE and not approved(store, item.document, item.generation)
        else item
        for item in desired
    ]


def approve_version(store: Store, document: DocumentRef, generation: int) -> None:
    """Let the loop write for this version of a document, and for no later one."""
    store.put(f"approved {document}", str(generation))


def approved(store: Store, document: DocumentRef, generation: int) -> bool:
    return store.get(f"approved {document}") == str(generation)
