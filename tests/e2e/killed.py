"""`python -m tests.e2e.killed MOMENT NUMBER ARGUMENTS…`: the `moorage` command, killed at one call.

The process kills itself as `kill -9` does, at its NUMBER-th call (from 0) that changes something in
Azure. MOMENT is `before` (the call is not sent), `unanswered` (it took effect and the answer has not
been read) or `answered` (the answer has arrived and little has been done with it).
"""

import asyncio
import os
import signal
import sys
from typing import Any

import aiohttp
from yarl import URL

from tests.e2e.ground import is_write

MOMENTS = ("before", "unanswered", "answered")
AFTER_S = 0.002  # enough for the answer to reach its caller, too short for much else


def plane_of(url: URL, headers: Any) -> str:
    """Which of the journal's planes a request goes to."""
    if "/oauth2/" in url.path:
        return "login"
    return "arm" if url.path.lower().startswith("/subscriptions") else "files"


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, number: int) -> None:
    """Replace the one function through which every request of the Azure SDKs goes."""
    request, calls = aiohttp.ClientSession._request, iter(range(sys.maxsize))

    async def killed(self: Any, method: str, url: Any, **options: Any) -> Any:
        where = URL(url)
        entry = {
            "plane": plane_of(where, options.get("headers")),
            "method": method.upper(),
            "path": where.path,
            "query": where.query_string,
        }
        mine = is_write(entry) and next(calls) == number
        if mine and moment == "before":
            kill()
        answer = await request(self, method, url, **options)
        if mine and moment == "unanswered":
            kill()
        if mine:
            asyncio.get_running_loop().call_later(AFTER_S, kill)
        return answer

    aiohttp.ClientSession._request = killed  # type: ignore[method-assign]


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["moorage", *sys.argv[3:]]
    from reconciler.cli import main

    main()
