"""Gives the desired objects to the loop, and to all that follows the documents: the watched files,
the leases, the AI Toolkit's configuration files. `intake` calls `take` after each reading; `daemon`
puts both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reconciler.api.environment import EnvironmentSpec
from reconciler.api.kinds import Kind
from reconciler.api.loaded import Loaded
from reconciler.api.policies import ReconcilePolicy
from reconciler.engine.controller import Controller
from reconciler.engine.external import Policy
from reconciler.engine.store import Store
from reconciler.intake import Intended
from reconciler.leadership import Leadership
from reconciler.sources.files import FileSource
from reconciler.toolkit.config_file import ConfigFiles


def only_observed(documents: Iterable[Loaded]) -> frozenset[str]:
    """The Environments whose own document and all of whose services observe or are skipped."""
    quiet, written = set[str](), set[str]()
    for each in documents:
        spec = each.document.spec
        name = each.document.metadata.name
        if spec.reconcile_policy is ReconcilePolicy.MANAGE:
            written.add(name if isinstance(spec, EnvironmentSpec) else spec.environment)
        elif isinstance(spec, EnvironmentSpec):
            quiet.add(name)
    return frozenset(quiet - written)


class Handover:
    """`complete` says whether the documents are the whole set, so that what they no longer name may
    go. It is asked after each reading.
    """

    def __init__(
        self,
        controller: Controller,
        store: Store,
        files: FileSource,
        leadership: Leadership,
        configs: ConfigFiles,
        complete: Callable[[], bool],
    ) -> None:
        self._controller, self._store, self._files = controller, store, files
        self._leadership, self._configs = leadership, configs
        self._complete = complete

    def take(self, intended: Intended) -> None:
        """Hand it over. What follows the documents gets it first, because the loop asks these
        parts.
        """
        snapshot, names = intended.snapshot, intended.composition.names
        digests = {folder: tree.digest for folder, tree in snapshot.trees.items()}
        manifest = snapshot.manifest
        files = manifest.files | manifest.secret_files
        self._files.set_watched(manifest.folders, digests, files, manifest.adapter_folders)
        self._leadership.follow(intended.composition, only_observed(manifest.documents))
        self._configs.follow(snapshot.manifest.documents, names)
        self._controller.set_desired(
            intended.desired, intended.documents, complete=self._complete()
        )
        self._controller.set_orphans(intended.orphans)
        self._approve_replaced_registrations(intended)

    def _approve_replaced_registrations(self, intended: Intended) -> None:
        """A share's former registration holds no data and another has taken its place, so nobody
        needs to approve that it is deleted.
        """
        managed = {
            item.key.name
            for item in intended.desired
            if item.key.kind == Kind.ENVIRONMENT and item.policy is Policy.MANAGE
        }
        for key in self._controller.approvable():
            if key.kind == Kind.STORAGE and key.name.split("/")[0] in managed:
                self._store.approve(key, "delete")
