"""Is the endpoint reachable from here, certificate and all? Asked only of services that never
sleep: a request would wake one that does, or keep it awake.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.clients import Arm
from reconciler.engine.external import Mark
from reconciler.engine.urgency import is_waited_for
from reconciler.kinds.service.ingress_reach import GATEWAY, NO_APP, NOT_ADMITTED, reaches_ingress

PATIENCE = aiohttp.ClientTimeout(total=5)
ONCE = {
    "Connection": "close"
}  # kept open, the connections to a hundred services would hold 33 MB for nothing
REFUSED = "answers 403 from the ingress: ingress.ipSecurityRestrictions leave the daemon out"
LONGEST = 65536  # bytes of an answer that are read


class Endpoints:
    """Asks the endpoints of services, and knows the last answer of each."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._last: dict[str, Mark] = {}

    async def ask(
        self, spec: ContainerAppSpec, endpoint: str | None, *, writes: bool
    ) -> tuple[Mark, ...]:
        """The mark of the service, if it has one. Where this pass `writes` what a person has just
        saved, the last answer counts: one that does not answer would hold the write up for 15 s,
        and the look after the write asks again.
        """
        known = self._last.get(spec.service)
        if known is None or endpoint is None or not (writes and is_waited_for()):
            known = await reach(self._arm, spec, endpoint)
        if known is None:
            self._last.pop(spec.service, None)
            return ()
        self._last[spec.service] = known
        return (known,)


async def reach(arm: Arm, spec: ContainerAppSpec, endpoint: str | None) -> Mark | None:
    """The `EndpointReachable` mark; None where nothing may be asked or only the environment can
    reach it.

    Any answer of the app itself will do, even an error: only the way to it is in question. After a
    failure it is asked once more, so that one lost connection does not count. If the daemon does
    not reach the ingress either, nothing is known about the app.
    """
    external = spec.body["properties"]["configuration"]["ingress"]["external"]
    if endpoint is None or spec.scales_to_zero or not external:
        return None
    url = endpoint + ("/live" if spec.serves_model else "/")
    wrong = await _wrong(arm, url) and await _wrong(arm, url)
    kind = ConditionType.ENDPOINT_REACHABLE
    if not wrong:
        return Mark(kind, Status.TRUE, Reason.REACHABLE, "")
    message = f"{endpoint} {wrong}"
    if wrong != REFUSED and await reaches_ingress(arm, urlsplit(endpoint).netloc):
        return Mark(kind, Status.FALSE, Reason.UNREACHABLE, message)
    if wrong != REFUSED:
        message = f"{message}, and the daemon does not reach its ingress either"
    return Mark(kind, Status.UNKNOWN, Reason.OUT_OF_REACH, message)


async def _wrong(arm: Arm, url: str) -> str:
    """Why the app did not answer; empty when it did."""
    try:
        async with arm.outside.get(
            url, timeout=PATIENCE, headers=ONCE, allow_redirects=False
        ) as answer:
            if answer.status in GATEWAY:
                return f"answers {answer.status}"
            body = await answer.content.read(LONGEST) if answer.status in (403, 404) else b""
            if answer.status == 404 and NO_APP in body:
                return "answers 404 from the ingress: no active revision takes the request"
            if answer.status == 403 and NOT_ADMITTED in body:
                return REFUSED
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"cannot be reached: {type(error).__name__}"
    return ""
