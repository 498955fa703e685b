"""Reports the outcome of each pass of the loop: to the metrics, AI Toolkit's configuration files,
the history of a service and the command that runs the daemon. `daemon` gives `saw` to the
controller.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.composition import Composition
from reconciler.engine.clock import Clock, SystemClock
from reconciler.engine.controller import Watcher
from reconciler.engine.external import ObjectKey, with_spec
from reconciler.engine.record import Phase
from reconciler.engine.result import Outcome
from reconciler.engine.store import Store
from reconciler.toolkit.config_file import ConfigFiles
from reconciler.web.generations import note, refused
from reconciler.web.metrics import DaemonMetrics

SYSTEM = SystemClock()
_REFUSED = (Phase.STALLED, Phase.BLOCKED)  # of a write: Azure made nothing


class OutcomeReports:
    """`composition` gives the desired objects as the documents were last read, `watcher` is the
    command that started the daemon, `clock` gives the time for people.
    """

    def __init__(
        self,
        store: Store,
        metrics: DaemonMetrics,
        configs: ConfigFiles,
        composition: Callable[[], Composition],
        watcher: Watcher | None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._store, self._metrics, self._configs = store, metrics, configs
        self._composition, self._watcher, self._clock = composition, watcher, clock

    def saw(self, key: ObjectKey, outcome: Outcome, seconds: float) -> None:
        """A pass over one object has ended."""
        self._metrics.saw(key.kind, outcome.phase.value, seconds)
        self._configs.saw(key, outcome)
        self._note(key, outcome)
        if self._watcher:
            self._watcher(key, outcome, seconds)

    def _note(self, key: ObjectKey, outcome: Outcome) -> None:
        """A write of a container app that asks for a new revision: what it changed is history, and
        so is why Azure refused it.
        """
        event, commit = outcome.event, self._store.get("commit") or ""
        writes = event and event.reason in (Reason.CREATING, Reason.UPDATING)
        if key.kind != Kind.APP or not (writes or outcome.phase in _REFUSED):
            return
        for app in with_spec(self._composition().desired, ContainerAppSpec):
            if app.key == key and event and writes:
                at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds")
                note(self._store, key.name, app.spec.revision, event.fields, commit, at)
            elif app.key == key:
                refused(self._store, key.name, app.spec.revision, outcome.message)
