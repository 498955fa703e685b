"""What a client polls while an operation runs: the addresses, how long it should wait, and the
answers found there. Used by the providers.
"""

from collections.abc import Callable
from typing import Any

from infra.local_azure import clock, regions
from infra.local_azure.store import Record, Store

from .call import Call
from .errors import ArmError
from .operations import Operation
from .pace import Pace
from .reply import Reply


class Polling:
    """`retry_after_s` is sent as Retry-After; 0 leaves it to the pace."""

    def __init__(self, store: Store, pace: Pace, retry_after_s: int) -> None:
        self._store = store
        self._pace = pace
        self._retry_after_s = retry_after_s

    def waiting(self, call: Call) -> dict[str, str]:
        """How long a client should wait before it asks again."""
        if self._retry_after_s:
            return {"Retry-After": str(self._retry_after_s)}
        if self._pace.real:
            wait = self._pace.retry_after(call.target.namespace or "Microsoft.Resources")
            return {"Retry-After": str(wait)} if wait else {}
        # Retry-After knows whole seconds only; the SDKs honour this header of Azure's below one.
        return {"retry-after-ms": str(max(20, int(self._pace.base_s * 500)))}

    def again(self, call: Call, query: str = "") -> Reply:
        """202 at an address that a client polls: the operation still runs, ask here again."""
        where = f"{call.base}{call.target.path}?{query}api-version={call.version}"
        return Reply(202, None, {"Location": where, **self.waiting(call)})

    def status(self, call: Call, operation: Operation) -> Reply:
        """The answer at the address of `Azure-AsyncOperation`: id, name, status, startTime and
        nothing else; a failure adds its error.
        """
        body: dict[str, Any] = {
            "id": call.target.path,
            "name": operation.id,
            "status": operation.status,
            "startTime": clock.ticks(operation.started),
        }
        if operation.error:
            body["error"] = operation.error
        return Reply(200, body, {} if operation.done else self.waiting(call))

    def result(
        self, call: Call, operation: Operation, view: Callable[[Call, Record], Any]
    ) -> Reply:
        """The answer at the address of `Location`: 202 until it is over, then the resource, or 204
        when that is gone.
        """
        if not operation.done:
            return self.again(call)
        record = self._store.get(operation.resource)
        return Reply(200, view(call, record)) if record else Reply(204)


def address(
    call: Call, provider: str, location: str, segment: str, operation: Operation, *, status: bool
) -> str:
    """The URL a client polls. The region is in normal form, the api-version that of the request
    that began the operation.
    """
    region = regions.normal(location)
    subscription = f"/subscriptions/{call.target.subscription}"
    path = f"{subscription}/providers/{provider}/locations/{region}/{segment}"
    flag = "&azureAsyncOperation=true" if status else ""
    query = f"api-version={call.version}{flag}&t={int(operation.started * 1e7)}"
    return f"{call.base}{path}/{operation.id}?{query}"


def refuse_failed(operation: Operation) -> None:
    """What a Location answers when the operation behind it failed: the operation's error."""
    if operation.error:
        raise ArmError(409, operation.error["code"], operation.error["message"])
