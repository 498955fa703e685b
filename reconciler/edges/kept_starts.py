"""Keeps on the share what the daemon has learned of each service's starts. It looks every 30 s and
writes only what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial

from reconciler.api.outputs import AppOutputs
from reconciler.api.resources import ContainerAppSpec
from reconciler.composition import Composition
from reconciler.edges.edge import Edge
from reconciler.engine.errors import ReconcileError
from reconciler.engine.external import Desired, DocumentRef, Policy, with_spec
from reconciler.engine.permit import permit
from reconciler.engine.record import ObjectRecord
from reconciler.kinds.share.start_memory import StartMemory

EVERY = 30.0  # seconds


class KeepStarts(Edge):
    """`records` are those of all objects. `why_not` says why this daemon may not write for an
    Environment; then another daemon leads and keeps the starts.
    """

    name = "what starts took"

    def __init__(
        self,
        memory: StartMemory,
        composition: Callable[[], Composition],
        records: Callable[[], Iterable[ObjectRecord]],
        why_not: Callable[[str], ReconcileError | None],
    ) -> None:
        self._memory, self._composition, self._records = memory, composition, records
        self._why_not = why_not
        self._failed: dict[DocumentRef, Exception] = {}

    async def wait(self) -> None:
        await asyncio.sleep(EVERY)

    async def act(self) -> None:
        """A share that cannot be written does not delay the others; its error is raised at the
        end.
        """
        self._failed = {}
        known = {record.key: record for record in self._records()}
        for item in with_spec(self._composition().desired, ContainerAppSpec):
            record = known.get(item.key)
            app = AppOutputs.load(record.outputs) if record and record.exists else None
            led = not self._why_not(item.spec.environment)
            if app and app.starts and item.policy is Policy.MANAGE and led:
                try:
                    await self._keep(item, app)
                except Exception as error:  # noqa: BLE001 - raised when the others are done
                    self._failed[item.document] = error
        if self._failed:
            raise next(iter(self._failed.values()))

    def concerns(self) -> Collection[DocumentRef]:
        return tuple(self._failed)

    async def _keep(self, item: Desired[ContainerAppSpec], app: AppOutputs) -> None:
        if item.spec.share is None:
            return
        with permit(partial(self._check, item.spec.environment)):
            await self._memory.keep(item.spec.share, item.spec.service, app.starts)

    def _check(self, environment: str) -> None:
        if refusal := self._why_not(environment):
            raise refusal
