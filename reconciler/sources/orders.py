"""What a person decided about adapters (`moorage adapter promote|rollback`), revisions (`moorage
rollback`, `moorage promote`) and looks (`moorage reconcile`): kept in the store, read with every
load. `pauses` keeps the pauses.

An order is about what the document asks for at that moment, and ends when that changes. The
catalogue on the share keeps its result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from reconciler.api.documents import AnyDocument, InferenceService
from reconciler.api.gateway_fields import gateway_name
from reconciler.api.loaded import Loaded
from reconciler.api.resources import (
    AdapterReturn,
    CatalogueSpec,
    ContainerAppSpec,
    Order,
    Return,
)
from reconciler.engine.external import Desired, DocumentRef, with_spec
from reconciler.engine.store import Store
from reconciler.sources.decisions import SOMEBODY, note_decision

ROLLBACK, PROMOTION, RETURN, ORDER = "rollback", "promotion", "return", "order"
_LOOKS = "looks"


def orders_of(documents: Sequence[Loaded], store: Store) -> dict[tuple[str, str], Order]:
    """The orders that stand, by service and adapter."""
    found, kept = {}, store.starting(f"{ORDER} ")
    for loaded in documents if kept else ():
        if isinstance(loaded.document, InferenceService):
            service = loaded.document.metadata.name
            for adapter in loaded.document.spec.adapters:
                if text := kept.get(f"{service}/{adapter.name}"):
                    found[service, adapter.name] = Order(**json.loads(text))
    return found


def give_order(store: Store, service: str, adapter: str, order: Order, who: str = SOMEBODY) -> None:
    """Keep an order and wake the daemon, as an approval does."""
    store.put(_key(service, adapter), json.dumps(asdict(order)))
    verb = {"promote": "promoted", "rollback": "rolled back"}.get(order.action, order.action)
    _note(store, service, f"{verb} adapter {adapter}", who, order.at)
    store.put("approvals", str(order.at))


def rollbacks_of(documents: Sequence[Loaded], store: Store) -> dict[str, tuple[str, str]]:
    """The revision that must not serve and the one to serve instead, by service."""
    return {service: (str(a), str(b)) for service, (a, b) in _all(documents, store, ROLLBACK)}


def promotions_of(documents: Sequence[Loaded], store: Store) -> dict[str, tuple[str, int]]:
    """The revision that may go on with its steps, and up to which weight, by service."""
    return {service: (str(a), int(b)) for service, (a, b) in _all(documents, store, PROMOTION)}


def returns_of(documents: Sequence[Loaded], store: Store) -> dict[str, AdapterReturn]:
    """The earlier adapters to serve again, by service."""
    return {service: AdapterReturn(**value) for service, value in _all(documents, store, RETURN)}


def order_rollback(
    store: Store, service: str, decided: Return, at: float, who: str = SOMEBODY
) -> None:
    """Keep the order to let an earlier generation serve, and wake the daemon."""
    if decided.serves:
        store.put(f"{PROMOTION} {service}", None)
        store.put(f"{ROLLBACK} {service}", json.dumps([decided.refused, decided.serves]))
    if decided.adapters:
        back = AdapterReturn(decided.asked, decided.adapters, at, decided.serves)
        store.put(f"{RETURN} {service}", json.dumps(asdict(back)))
    parts = [f"revision {decided.serves}"] if decided.serves else []
    parts += [f"adapters of set {decided.adapters}"] if decided.adapters else []
    _note(store, service, f"rolled back to {' and '.join(parts)}", who, at)
    store.put("approvals", str(at))


def order_promotion(
    store: Store, service: str, revision: str, weight: int, at: float, who: str = SOMEBODY
) -> None:
    """Keep the order to let `revision` leave its steps up to `weight`, and wake the daemon."""
    store.put(f"{PROMOTION} {service}", json.dumps([revision, weight]))
    _note(store, service, f"promoted revision {revision} beyond {weight} % of the traffic", who, at)
    store.put("approvals", str(at))


def _note(store: Store, service: str, what: str, who: str, at: float) -> None:
    note_decision(store, DocumentRef("InferenceService", service), what, who, at)


def end_orders(
    desired: Sequence[Desired], store: Store, asked: Callable[[CatalogueSpec], str]
) -> None:
    """Forget the orders about revisions and adapters that the documents do not ask for any more;
    `asked` is what an order about adapters refers to.
    """
    for each in with_spec(desired, CatalogueSpec):
        if each.spec.back and each.spec.back.asked != asked(each.spec):
            store.put(f"{RETURN} {each.spec.service}", None)
    for what in (ROLLBACK, PROMOTION):
        kept = store.starting(f"{what} ")
        for item in with_spec(desired, ContainerAppSpec) if kept else ():
            text = kept.get(item.spec.service)
            if text and json.loads(text)[0] != item.spec.revision:
                store.put(f"{what} {item.spec.service}", None)


def _all(documents: Sequence[Loaded], store: Store, what: str) -> Iterator[tuple[str, Any]]:
    kept = store.starting(f"{what} ")
    for loaded in documents if kept else ():
        if isinstance(loaded.document, InferenceService):
            service = loaded.document.metadata.name
            if text := kept.get(service):
                yield service, json.loads(text)


def order_rotation(
    store: Store, service: str, key: str, refused: str, at: float, who: str = SOMEBODY
) -> None:
    """Keep the order to replace the API key whose SHA-256 is `refused`, and wake the daemon. The
    order stays in the store; it asks for nothing once the key has another hash.
    """
    known = json.loads(store.get(_rotation(service)) or "{}")
    store.put(_rotation(service), json.dumps({**known, key: refused}))
    _note(store, service, f"ordered another API key {key}", who, at)
    store.put("approvals", str(at))


def rotations_of(
    documents: Sequence[Loaded], store: Store
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Name and SHA-256 of the API keys to replace, by container app of a service or gateway."""
    found, kept = {}, store.starting(_rotation(""))
    for loaded in documents if kept else ():
        app = _app_of(loaded.document)
        if app and (text := kept.get(app)):
            found[app] = tuple(sorted(json.loads(text).items()))
    return found


def _app_of(document: AnyDocument) -> str:
    """The container app of a document; empty for an Environment without a gateway."""
    if isinstance(document, InferenceService):
        return document.metadata.name
    gateway = document.spec.gateway
    return gateway_name(document.metadata.name, gateway) if gateway else ""


def _rotation(service: str) -> str:
    return f"rotation {service}"


def order_look(store: Store, document: DocumentRef, at: float) -> None:
    """Let the daemon look at a document at once."""
    waiting = json.loads(store.get(_LOOKS) or "[]")
    store.put(_LOOKS, json.dumps([*waiting, str(document)]))
    store.put("approvals", str(at))


def take_looks(store: Store) -> frozenset[str]:
    """The documents to look at that were ordered since the last call."""
    if store.get(_LOOKS) is None:
        return frozenset()
    with store.transaction():  # a command may leave another one at this moment
        text = store.get(_LOOKS)
        store.put(_LOOKS, None)
    return frozenset(json.loads(text or "[]"))


def _key(service: str, adapter: str) -> str:
    return f"{ORDER} {service}/{adapter}"
