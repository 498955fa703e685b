"""Where changes wait for a person, a person's order about an adapter does not wait for another."""

from dataclasses import replace

from reconciler.api.manifest import load
from reconciler.api.resources import CatalogueAdapter, CatalogueSpec, Order, ShareRef
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy
from reconciler.engine.store import MEMORY, Store
from reconciler.sources.policy import approve_version, with_sync_policy

MANIFEST = """
kind: Environment
metadata: {name: default}
spec: {syncPolicy: {automated: false}}
---
kind: InferenceService
metadata: {name: phi}
spec:
  model: {source: share://m}
  adapters: [{name: sales, source: share://one}]
"""
PHI = DocumentRef("InferenceService", "phi")


def test_an_order_is_a_permission_itself(tmp_path):
    """The version that was approved goes on being so; another adapter is another version."""
    file = tmp_path / "m.yaml"
    file.write_text(MANIFEST)
    documents, store = load([file]).documents, Store.open(MEMORY, "local")

    def policy(adapter):
        spec = CatalogueSpec(
            ShareRef("default", "rg", "st", "moorage"), "phi", "engine", (adapter,), ()
        )
        (item,) = with_sync_policy(
            [Desired(ObjectKey("AdapterCatalogue", "phi"), PHI, spec)], documents, store
        )
        return item.policy

    adapter = CatalogueAdapter("sales", "1" * 64, "adapters/sales/1", True)
    assert policy(adapter) is Policy.ASK
    approve_version(store, PHI)
    assert policy(adapter) is Policy.MANAGE
    assert policy(replace(adapter, order=Order("rollback", "words", 1.0))) is Policy.MANAGE
    assert policy(replace(adapter, digest="2" * 64)) is Policy.ASK
