"""What a person decided about adapters (`moorage adapter promote|rollback`): kept in the store,
read with every load.

An order speaks of what the document asks for at that moment and ends with it; the catalogue on the
share keeps what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from reconciler.api.documents import InferenceService
from reconciler.api.loaded import Loaded
from reconciler.api.resources import Order
from reconciler.engine.store import Store


def orders_of(documents: Sequence[Loaded], store: Store) -> dict[tuple[str, str], Order]:
    """The orders that stand, by service and adapter."""
    found = {}
    for loaded in documents:
        if isinstance(loaded.document, InferenceService):
            service = loaded.document.metadata.name
            for adapter in loaded.document.spec.adapters:
                if text := store.get(_key(service, adapter.name)):
                    found[service, adapter.name] = Order(**json.loads(text))
    return found


def give_order(store: Store, service: str, adapter: str, order: Order) -> None:
    """Keep an order and wake the daemon, as an approval does."""
    store.put(_key(service, adapter), json.dumps(asdict(order)))
    store.put("approvals", str(order.at))


def _key(service: str, adapter: str) -> str:
    return f"order {service}/{adapter}"
