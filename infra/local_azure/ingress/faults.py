"""Scripted faults at the edge. The script is the local Azure's own (`infra.local_azure.faults`),
read by this process itself.
"""

import asyncio

from aiohttp import web

from infra.local_azure.faults.fault import Event, Fault
from infra.local_azure.faults.fault_store import FaultStore

from . import answers

_KINDS = frozenset({"Throttle", "Error", "ResetBefore", "ResetAfter", "Slow"})
_WORDS = {
    429: "local_rate_limited",
    502: "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
    503: (
        "upstream connect error or disconnect/reset before headers. reset reason: connection"
        " termination"
    ),
    504: answers.TIMED_OUT,
}


async def strike(
    faults: FaultStore | None, app: str, request: web.BaseRequest
) -> tuple[web.Response | None, bool]:
    """An answer instead of the app's, and whether the app's answer is to be cut off."""
    if not faults:
        return None, False
    client = request.headers.get("User-Agent", "")
    event = Event("ingress", request.method, names=(app, request.path), client=client)
    if (fault := faults.pick(event, _KINDS)) is None:
        return None, False
    if fault.kind == "Slow":
        await asyncio.sleep(fault["seconds"])
    elif fault.kind == "ResetBefore":
        cut(request)
        return web.Response(), False  # to nobody
    elif fault.kind != "ResetAfter":
        return _refusal(request, fault), False
    return None, fault.kind == "ResetAfter"


def cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def _refusal(request: web.BaseRequest, fault: Fault) -> web.Response:
    status = 429 if fault.kind == "Throttle" else int(fault["status"])
    made = answers.answer(
        request, status, fault["message"] or _WORDS.get(status, "the request failed")
    )
    if fault.kind == "Throttle" and fault["retryAfter"]:
        made.headers["Retry-After"] = str(fault["retryAfter"])
    return made
