"""Deletes unused files from shares. It looks every hour, or more often if unused files are kept for
less than an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from reconciler.api.reasons import Reason
from reconciler.api.resources import ShareSpec
from reconciler.composition import Composition
from reconciler.composition.environment import share_of
from reconciler.edges.edge import EdgeOverObjects
from reconciler.engine.events import Event, normal
from reconciler.engine.external import Desired, Policy, with_spec
from reconciler.engine.permit import permit
from reconciler.kinds.share.garbage import Garbage

EVERY = 3600.0  # seconds


class GarbageEdge(EdgeOverObjects):
    """Looks at the share of every Environment that Moorage manages. `check` is called before each
    request that deletes, and raises if this daemon may not write.
    """

    name = "garbage on shares"

    def __init__(
        self,
        garbage: Garbage,
        composition: Callable[[], Composition],
        check: Callable[[str], None],
        tell: Callable[[Event], None],
    ) -> None:
        super().__init__()
        self._garbage, self._composition = garbage, composition
        self._check, self._tell = check, tell

    async def wait(self) -> None:
        await asyncio.sleep(min(self._garbage.after, EVERY))

    async def act(self) -> None:
        composition = self._composition()
        shares = with_spec(composition.desired, ShareSpec)
        managed = (item for item in shares if item.policy is Policy.MANAGE)
        await self.do_for_each(managed, partial(self._collect, composition))

    async def _collect(self, composition: Composition, item: Desired[ShareSpec]) -> None:
        environment, document = item.spec.environment, item.document
        share = share_of(composition.names[environment])
        with permit(partial(self._check, environment)):
            async for path in self._garbage.collect(share, composition.desired):
                message = (
                    f"{path} is deleted from the share: nothing has named it for"
                    f" {self._garbage.after:g} s"
                )
                self._tell(normal(Reason.GARBAGE_COLLECTED, message, document, document))
