"""Console output and system events of container apps, through the log stream that `az containerapp
logs` uses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp

from reconciler.api import versions
from reconciler.arm import ids
from reconciler.arm.clients import Arm
from reconciler.arm.errors import from_fault, translate
from reconciler.arm.faults import fault


async def log_token(arm: Arm, group: str, app: str) -> str:
    """A short-lived token for the app's streams. A secret."""
    answer = await arm.post_json(
        f"{ids.app(arm.subscription_id, group, app)}/getAuthtoken", versions.APP
    )
    return str(answer["properties"]["token"])


async def job_token(arm: Arm, group: str, job: str) -> str:
    """The same for the streams of a job."""
    answer = await arm.post_json(
        f"{ids.job(arm.subscription_id, group, job)}/getAuthToken", versions.APP
    )
    return str(answer["properties"]["token"])


def event_endpoint(arm: Arm, group: str, app: str, event_stream_endpoint: str) -> str:
    """The URL of an app's system events, from its `properties.eventStreamEndpoint`."""
    found = urlsplit(event_stream_endpoint)
    if found.path.endswith("/eventstream"):
        return event_stream_endpoint
    return f"{found.scheme}://{found.netloc}{ids.app(arm.subscription_id, group, app)}/eventstream"


async def stream_logs(
    arm: Arm, endpoint: str, token: str, *, follow: bool, tail: int = 100
) -> AsyncIterator[str]:
    """The lines of a replica's container (its `logStreamEndpoint`) or of `event_endpoint`.

    `tail` is the number of old lines, 0 to 300. With `follow` it ends when the other side or the
    caller does.
    """
    params = {
        "follow": str(follow).lower(),
        "output": "text",
        "tailLines": str(min(max(tail, 0), 300)),
    }
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=None if follow else 30)
    try:
        # The session does not unpack compressed answers.
        plain = ("Accept-Encoding",)
        async with arm.session.get(
            endpoint, params=params, headers=headers, timeout=timeout, skip_auto_headers=plain
        ) as answer:
            if answer.status >= 400:
                raise from_fault(fault(answer.status, answer.headers, await answer.text()))
            pending = b""
            # Split by hand: a line of output may be longer than the reader's own limit.
            async for chunk in answer.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace").rstrip("\r")
            if pending:
                yield pending.decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise translate(error) from error
