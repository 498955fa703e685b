"""Keeps on the share what the daemon has learned of each service's starts. It looks every 30 s and
writes only what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from reconciler.api.outputs import AppOutputs
from reconciler.api.resources import ContainerAppSpec
from reconciler.composition import Composition
from reconciler.edges.edge import EdgeOverObjects
from reconciler.engine.errors import ReconcileError
from reconciler.engine.external import Desired, ObjectKey, Policy, with_spec
from reconciler.engine.permit import permit
from reconciler.engine.record import ObjectRecord
from reconciler.kinds.share.start_memory import StartMemory

EVERY = 30.0  # seconds


class KeepStarts(EdgeOverObjects):
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
        super().__init__()
        self._memory, self._composition, self._records = memory, composition, records
        self._why_not = why_not

    async def wait(self) -> None:
        await asyncio.sleep(EVERY)

    async def act(self) -> None:
        known = {record.key: record for record in self._records()}
        led = (
            item
            for item in with_spec(self._composition().desired, ContainerAppSpec)
            if item.policy is Policy.MANAGE and not self._why_not(item.spec.environment)
        )
        await self.do_for_each(led, partial(self._keep, known))

    async def _keep(
        self, known: Mapping[ObjectKey, ObjectRecord], item: Desired[ContainerAppSpec]
    ) -> None:
        record = known.get(item.key)
        app = AppOutputs.load(record.outputs) if record and record.exists else None
        if app and app.starts and item.spec.share:
            with permit(partial(self._check, item.spec.environment)):
                await self._memory.keep(item.spec.share, item.spec.service, app.starts)

    def _check(self, environment: str) -> None:
        if refusal := self._why_not(environment):
            raise refusal
