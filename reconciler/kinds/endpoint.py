"""Is the endpoint reachable from here, certificate and all? Asked only of services that never
sleep: a request would wake one that does, or keep it awake.
"""

from __future__ import annotations

import aiohttp

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.clients import Arm
from reconciler.engine.external import Mark

PATIENCE = aiohttp.ClientTimeout(total=5)
ONCE = {
    "Connection": "close"
}  # kept open, the connections to a hundred services would hold 33 MB for nothing


async def reach(arm: Arm, spec: ContainerAppSpec, endpoint: str | None) -> Mark | None:
    """The `EndpointReachable` mark; None where nothing may be asked or only the environment can
    reach it.

    Any answer of the app itself will do, an error too: it is the way there that is in question.
    """
    external = spec.body["properties"]["configuration"]["ingress"]["external"]
    if endpoint is None or spec.scales_to_zero or not external:
        return None
    url = endpoint + ("/live" if spec.serves_model else "/")
    try:
        async with arm.session.get(url, timeout=PATIENCE, headers=ONCE) as answer:
            there = answer.status not in (502, 503, 504)
            message = "" if there else f"{endpoint} answers {answer.status}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        there, message = False, f"{endpoint} cannot be reached: {type(error).__name__}"
    return Mark(
        ConditionType.ENDPOINT_REACHABLE,
        Status.of(there),
        Reason.REACHABLE if there else Reason.UNREACHABLE,
        message,
    )
