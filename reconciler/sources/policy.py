"""`syncPolicy.automated: false`: the loop asks before it writes, until a person approves the
present version of the document.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from reconciler.api.documents import Environment, InferenceService
from reconciler.api.loaded import Loaded
from reconciler.api.resources import CatalogueSpec, ContainerAppSpec
from reconciler.engine.external import Desired, DocumentRef, Policy
from reconciler.engine.fingerprint import fingerprint
from reconciler.engine.store import Store
from reconciler.engine.waiting import Waiting
from reconciler.sources.decisions import SOMEBODY, note_approval


def with_sync_policy(
    desired: Sequence[Desired], documents: Sequence[Loaded], store: Store
) -> list[Desired]:
    """`desired`, with the policy Ask for objects of an Environment that is not automated, unless
    the present version of their document is approved.
    """
    held = _held(documents)
    parts: dict[DocumentRef, list[str]] = defaultdict(list)
    for item in desired:
        if item.document in held:
            parts[item.document].append(f"{item.key} {_words(item)}")
    for document, of in parts.items():
        store.put(f"version {document}", fingerprint(of))
    return [
        replace(item, policy=Policy.ASK)
        if item.document in held
        and item.policy is Policy.MANAGE
        and not _approved(store, item.document)
        else item
        for item in desired
    ]


def _words(item: Desired) -> str:
    """A digest of what the documents say about an object. A person's orders about an adapter or a
    revision are left out, because an order is an approval itself.
    """
    spec = item.spec
    if isinstance(spec, ContainerAppSpec):
        return fingerprint(replace(spec, instead="", rotated=()))
    if not isinstance(spec, CatalogueSpec) or not any(adapter.order for adapter in spec.adapters):
        return item.fingerprint
    return fingerprint(
        replace(spec, adapters=tuple(replace(adapter, order=None) for adapter in spec.adapters))
    )


def grant(store: Store, found: Sequence[Waiting], at: float, who: str = SOMEBODY) -> None:
    """Let what `found` lists go ahead, once, and wake the daemon; `at` in seconds since 1970."""
    for each in found:
        for record in each.ends:
            for verb in ("delete", "replace"):
                store.approve(record.key, verb)
        if each.manual:
            approve_version(store, each.document)
        note_approval(store, each, who, at)
    store.put("approvals", str(at))


def approve_version(store: Store, document: DocumentRef, version: str | None = None) -> None:
    """Let the loop write the present version of `document`, including the folders it names (or
    `version`), and no later one.
    """
    store.put(f"approved {document}", version or version_of(store, document))


def version_of(store: Store, document: DocumentRef) -> str | None:
    """The digest of the document's present version, if it must be approved."""
    return store.get(f"version {document}")


def _approved(store: Store, document: DocumentRef) -> bool:
    return store.get(f"approved {document}") == store.get(f"version {document}")


def _held(documents: Sequence[Loaded]) -> set[DocumentRef]:
    manual = {
        loaded.document.metadata.name
        for loaded in documents
        if isinstance(loaded.document, Environment)
        and not loaded.document.spec.sync_policy.automated
    }
    services = [
        loaded.document for loaded in documents if isinstance(loaded.document, InferenceService)
    ]
    held = {
        DocumentRef("InferenceService", each.metadata.name)
        for each in services
        if each.spec.environment in manual
    }
    return held | {DocumentRef("Environment", name) for name in manual}
