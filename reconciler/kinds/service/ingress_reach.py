"""Whether the daemon can reach an app's ingress at all. If not, a missing answer says nothing about
the app: the daemon's own network (a proxy, a firewall, its DNS) may be what fails.

`smoke`, `endpoint` and `evaluation` ask this before they call an app unreachable.
"""

from __future__ import annotations

import aiohttp

from reconciler.arm.clients import Arm

PATIENCE = aiohttp.ClientTimeout(total=5)
# On the ingress's page, and in its JSON, where no app takes the request.
NO_APP = b"Container App is stopped or does not exist"
# In the ingress's 403, where `ipSecurityRestrictions` leave the daemon's address out.
NOT_ADMITTED = b"RBAC: access denied"
# The ingress answers so when no replica does, and many proxies answer so too.
GATEWAY = (502, 503, 504)


async def reaches_ingress(arm: Arm, host: str) -> bool:
    """Whether the daemon reaches the ingress behind `host`, the host name of an app.

    It is asked for a revision that cannot exist, which the ingress answers with 404. A proxy that
    blocks the way answers something else, or nothing.
    """
    nobody = f"nobody--0.{host.partition('.')[2] or host}"
    try:
        async with arm.outside.get(
            f"https://{host}/",
            headers={"Host": nobody, "Connection": "close"},
            timeout=PATIENCE,
            allow_redirects=False,
        ) as answer:
            return answer.status == 404
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
