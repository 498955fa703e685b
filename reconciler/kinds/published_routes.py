"""The routes of an Environment's gateway on the share: where its services are, and whose keys open
them. A change is a new file, which the gateway follows without a restart.

`route_view` derives what should be there; this file reads and writes.
"""

from __future__ import annotations

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.outputs import RoutesOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import GatewayRoutesSpec
from reconciler.engine.external import (
    Desired,
    Facts,
    Identity,
    Mark,
    Observation,
    Wrote,
)
from reconciler.kinds.connections import Connections
from reconciler.kinds.gateway.gateway_states import GatewayStates, merged
from reconciler.kinds.gateway.recent_usage import RecentUsage
from reconciler.kinds.gateway.route_view import changes_of, lacking, seen_app, wanted_routes
from reconciler.kinds.share.numbered_files import FolderOnShare, NumberedFiles
from serving.gateway.routes import LONGEST, ROUTES_NAME, GatewayRoutes, GatewayState

SOON, LOOK = 1.0, 5.0  # seconds; a gateway writes its state as often


class PublishedRoutes(FolderOnShare):
    """A gateway follows the highest valid routes."""

    name = Kind.ROUTES

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections.shares)
        self.states = GatewayStates(connections.shares)
        self.usage = RecentUsage(connections.shares)
        self.routes = NumberedFiles(self.shares, ROUTES_NAME, GatewayRoutes.load, LONGEST)

    def identify(self, desired: Desired[GatewayRoutesSpec]) -> Identity:
        return self.shares.identify(desired.key, desired.spec.share, desired.spec.folder)

    async def observe(self, desired: Desired[GatewayRoutesSpec], facts: Facts) -> Observation:
        spec = desired.spec
        current, _ = await self._current(spec)
        wanted = wanted_routes(spec, current, facts)
        missing = lacking(spec, facts)
        states = await self._states(spec, facts)
        outputs = None
        if current:
            used = await self.usage.read(spec.share, f"{spec.folder}/data")
            outputs = RoutesOutputs(current.generation, merged(states), used)
        published = f"routes {current.file_name}" if current else ""
        mark = Mark(ConditionType.PUBLISHED, Status.TRUE, Reason.PUBLISHED, published)
        return Observation(
            exists=current is not None,
            ready=current is not None,
            changes=changes_of(current, wanted),
            outputs=outputs,
            marks=(mark,) if current else (),
            reason=Reason.PROGRESSING if missing else None,
            message=f"waits for the keys {', '.join(missing)}" if missing else "",
            poll_after=SOON if missing else LOOK,
            # Endpoints, keys and failures of services change without anybody editing the routes.
            provisional=bool(spec.services or spec.keys),
            unfinished=bool(missing),
        )

    async def create(self, desired: Desired[GatewayRoutesSpec], facts: Facts) -> Wrote:
        return await self._write(desired.spec, facts)

    async def update(
        self, desired: Desired[GatewayRoutesSpec], observed: Observation, facts: Facts
    ) -> Wrote:
        return await self._write(desired.spec, facts)

    async def _write(self, spec: GatewayRoutesSpec, facts: Facts) -> Wrote:
        # The folders that the gateway mounts must exist, including the folder of services, which
        # may have no service yet.
        await self.make(spec.share, (_folder(spec), f"{spec.folder}/data", "services"))
        current, names = await self._current(spec)
        # Above every file, a torn one included, and above the routes that a gateway follows:
        # otherwise it would ignore the routes after a loss of the folder.
        seen = [int(name.partition(".")[0]) for name in names]
        seen += [state.generation or 0 for state in await self._states(spec, facts)]
        generation = max(seen, default=0) + 1
        wanted = wanted_routes(spec, current, facts)
        routes = wanted.model_copy(update={"generation": generation})
        await self.routes.write(spec.share, _folder(spec), routes, names)
        return Wrote(f"write routes {_folder(spec)}/{routes.file_name}")

    async def _states(self, spec: GatewayRoutesSpec, facts: Facts) -> tuple[GatewayState, ...]:
        app = seen_app(spec.app, facts)
        replicas = app.replicas if app else ()
        return await self.states.read(spec.share, f"{spec.folder}/data", replicas)

    async def _current(self, spec: GatewayRoutesSpec) -> tuple[GatewayRoutes | None, list[str]]:
        return await self.routes.newest(spec.share, _folder(spec))


def _folder(spec: GatewayRoutesSpec) -> str:
    return f"{spec.folder}/routes"
