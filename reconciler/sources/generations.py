"""The generation of each document, which the store counts. `intake` asks for all with each reading,
and only a document whose spec is another one costs a call to the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.api.loaded import Loaded
from reconciler.engine.external import DocumentRef
from reconciler.engine.store import Store


class Generations:
    """The generations of the documents that were counted last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[DocumentRef, tuple[str, int]] = {}  # with the digest of the spec

    def count(self, documents: Sequence[Loaded]) -> Mapping[DocumentRef, int]:
        """The generations of `documents`; what is not among them is forgotten, as the store may
        forget it too.
        """
        before, self._known = self._known, {}
        for loaded in documents:
            ref = DocumentRef(loaded.document.kind, loaded.document.metadata.name)
            digest = loaded.digests[1]
            known = before.get(ref)
            if known is None or known[0] != digest:
                known = digest, self._store.generation(ref, digest)
            self._known[ref] = known
        return {ref: generation for ref, (_, generation) in self._known.items()}
