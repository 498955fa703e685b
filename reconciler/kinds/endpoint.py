"""Is the endpoint reachable from here, certificate and all? Asked only of services that never
sleep: a request would wake one that does, or keep it awake.
"""

from __future__ import annotations

import aiohttp

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.api.resources import ContainerAppSpec
from reconciler.arm.clients import Arm
from reconciler.engine.errors import Throttled
from reconciler.engine.external import Mark

PATIENCE = aiohttp.ClientTimeout(total=5)
ONCE = {
    "Connection": "close"
}  # kept open, the connections to a hundred services would hold 33 MB for nothing


# What the ingress says where no app takes the request, on its page and in its JSON.
NO_APP = b"Container App is stopped or does not exist"
LONGEST = 65536  # bytes of an answer that are read


async def reach(arm: Arm, spec: ContainerAppSpec, endpoint: str | None) -> Mark | None:
    """The `EndpointReachable` mark; None where nothing may be asked or only the environment can
    reach it.

    Any answer of the app itself will do, an error too: it is the way there that is in question. A
    failure is asked about twice, so that one lost connection does not count.
    """
    external = spec.body["properties"]["configuration"]["ingress"]["external"]
    if endpoint is None or spec.scales_to_zero or not external:
        return None
    url = endpoint + ("/live" if spec.serves_model else "/")
    wrong = await _wrong(arm, url) and await _wrong(arm, url)
    return Mark(
        ConditionType.ENDPOINT_REACHABLE,
        Status.of(not wrong),
        Reason.UNREACHABLE if wrong else Reason.REACHABLE,
        f"{endpoint} {wrong}" if wrong else "",
    )


async def _wrong(arm: Arm, url: str) -> str:
    """Why the app did not answer; empty when it did."""
    try:
        async with arm.session.get(
            url, timeout=PATIENCE, headers=ONCE, allow_redirects=False
        ) as answer:
            if answer.status in (502, 503, 504):
                return f"answers {answer.status}"
            if answer.status == 404 and NO_APP in await answer.content.read(LONGEST):
                return "answers 404 from the ingress: no active revision takes the request"
    except Throttled:  # kept for every host alike, after a 429 or 503
        return "answered 429 or 503 a moment ago"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return f"cannot be reached: {type(error).__name__}"
    return ""
