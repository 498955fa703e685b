"""Long-running operations: begun by a write, finished by a timer, kept in the store so that a
killed server goes on with them.

A finisher is a named function of a provider; the store keeps its name and argument, never code.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local_azure import clock, regions
from infra.local_azure.faults import endings, events
from infra.local_azure.faults.book import Book
from infra.local_azure.faults.kinds import OPERATIONS
from infra.local_azure.store import Record, Store

from .call import Call, Reply
from .errors import ArmError
from .pace import Pace

Finisher = Callable[["Operation"], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Operation:
    """`resource` is the key of the resource it works on; `argument` is what the finisher needs to
    know.
    """

    id: str
    resource: str
    finish: str
    argument: dict[str, Any]
    started: float
    due: float
    status: str
    error: dict[str, str] | None

    @property
    def done(self) -> bool:
        return self.status != "InProgress"


class Operations:
    """`finishers` maps the stored names to functions; `pace` says how long they take, `faults` how
    they may end otherwise.

    `changed` is called when one ended otherwise than its finisher would have it.
    """

    def __init__(self, store: Store, pace: Pace, faults: Book) -> None:
        self._store = store
        self._pace = pace
        self._faults = faults
        self.finishers: Mapping[str, Finisher] = {}
        self.changed: Callable[[], None] = lambda: None

    def begin(
        self,
        resource: str,
        finish: str,
        *,
        factor: float = 1.0,
        argument: dict[str, Any] | None = None,
    ) -> Operation:
        """Start one; it finishes `factor` times its ordinary length from now."""
        now, whole, late = clock.now(), dict(argument or {}), 0.0
        event = events.CURRENT.get()
        fresh = finish == "environment.done" and factor > 1
        kinds = OPERATIONS if fresh else OPERATIONS - {"NoCapacity"}
        if event is not None and (fault := self._faults.draw(event, kinds)) is not None:
            late = fault["seconds"]
            if ending := endings.ending(fault, finish, resource):
                whole["ending"] = ending
        due = now + self._pace.seconds(finish, factor) + late
        operation = Operation(
            str(uuid.uuid4()), resource.lower(), finish, whole, now, due, "InProgress", None
        )
        self._store.execute(
            "insert into operations values (?, ?, ?, ?, ?, ?, 'InProgress', null)",
            (
                operation.id,
                operation.resource,
                finish,
                json.dumps(operation.argument),
                now,
                operation.due,
            ),
        )
        self._schedule(operation)
        return operation

    def get(self, identifier: str) -> Operation | None:
        rows = self._store.execute("select * from operations where id = ?", (identifier.lower(),))
        return _operation(rows[0]) if rows else None

    def busy(self, resource: str) -> Operation | None:
        """The operation that still runs on a resource."""
        rows = self._store.execute(
            "select * from operations where status = 'InProgress' and resource = ? order by"
            " started",
            (resource.lower(),),
        )
        return _operation(rows[0]) if rows else None

    def resume(self) -> None:
        """Take up what a previous server left unfinished, and forget what is a day old."""
        self._store.execute(
            "delete from operations where status <> 'InProgress' and due < ?",
            (clock.now() - 86400,),
        )
        self._store.execute(
            "delete from settings where name like 'result:%' and substr(name, 8) not in (select id"
            " from operations)"
        )
        for row in self._store.execute(
            "select * from operations where status = 'InProgress' order by started"
        ):
            self._schedule(_operation(row))

    def _schedule(self, operation: Operation) -> None:
        delay = max(0.0, operation.due - clock.now())
        asyncio.get_running_loop().call_later(delay, self._finish, operation)

    def _finish(self, operation: Operation) -> None:
        """Run the finisher and mark the end in one transaction, so that a kill between the two
        repeats it whole.
        """
        status, error = "Succeeded", None
        current = self.get(operation.id)
        if current is None or current.done:
            return  # the write that began it was rolled back
        try:
            with self._store.transaction():
                if (ending := operation.argument.get("ending")) is None:
                    self.finishers[operation.finish](operation)
                    self._mark(operation, status, None)
                else:
                    self._end_badly(operation, ending)
        except ArmError as refused:
            status, error = "Failed", {"code": refused.code, "message": refused.message}
        except Exception:
            log.exception("operation %s (%s) failed", operation.id, operation.finish)
            status, error = (
                "Failed",
                {"code": "InternalServerError", "message": "The local Azure failed; see its log."},
            )
        if error:
            self._mark(operation, status, error)

    def _end_badly(self, operation: Operation, ending: dict[str, Any]) -> None:
        """As a fault wants it: the change made and the resource Failed all the same, or not even
        made.
        """
        deceived = ending["status"] == "Succeeded"
        if deceived:
            self.finishers[operation.finish](operation)
        endings.leave(self._store, operation.finish, operation.resource, ending)
        self.changed()
        error = None if deceived else {"code": ending["code"], "message": ending["message"]}
        self._mark(operation, ending["status"], error)

    def _mark(self, operation: Operation, status: str, error: dict[str, str] | None) -> None:
        self._store.execute(
            "update operations set status = ?, error = ? where id = ?",
            (status, json.dumps(error) if error else None, operation.id),
        )


def _operation(row: tuple[Any, ...]) -> Operation:
    identifier, resource, finish, argument, started, due, status, error = row
    return Operation(
        identifier,
        resource,
        finish,
        json.loads(argument),
        started,
        due,
        status,
        json.loads(error) if error else None,
    )


def url(
    call: Call, provider: str, location: str, segment: str, operation: Operation, *, status: bool
) -> str:
    """The address a client polls; the region is in normal form, the api-version that of the request
    that began it.
    """
    region = regions.normal(location)
    subscription = f"/subscriptions/{call.target.subscription}"
    path = f"{subscription}/providers/{provider}/locations/{region}/{segment}"
    flag = "&azureAsyncOperation=true" if status else ""
    query = f"api-version={call.version}{flag}&t={int(operation.started * 1e7)}"
    return f"{call.base}{path}/{operation.id}?{query}"


def waiting(call: Call) -> dict[str, str]:
    """How long a client should wait before it asks again."""
    options = call.azure.options
    if options.retry_after_s:
        return {"Retry-After": str(options.retry_after_s)}
    if options.pace.real:
        wait = options.pace.retry_after(call.target.namespace or "Microsoft.Resources")
        return {"Retry-After": str(wait)} if wait else {}
    return {"retry-after-ms": str(max(20, int(options.operation_s * 500)))}


def refuse_failed(operation: Operation) -> None:
    """What a Location answers when the operation behind it failed: the operation's error."""
    if operation.error:
        raise ArmError(409, operation.error["code"], operation.error["message"])


def status_body(call: Call, operation: Operation) -> dict[str, Any]:
    """Microsoft.App's status document: id, name, status, startTime and nothing else; a failure adds
    its error.
    """
    body: dict[str, Any] = {
        "id": call.target.path,
        "name": operation.id,
        "status": operation.status,
        "startTime": clock.ticks(operation.started),
    }
    if operation.error:
        body["error"] = operation.error
    return body


def status_reply(call: Call, operation: Operation) -> Reply:
    """The answer at the address of `Azure-AsyncOperation`."""
    return Reply(200, status_body(call, operation), {} if operation.done else waiting(call))


def result_reply(call: Call, operation: Operation, view: Callable[[Call, Record], Any]) -> Reply:
    """The answer at the address of `Location`: 202 until it is over, then the resource, or 204 when
    that is gone.
    """
    if not operation.done:
        where = f"{call.base}{call.target.path}?api-version={call.version}"
        return Reply(202, None, {"Location": where, **waiting(call)})
    record = call.azure.store.get(operation.resource)
    return Reply(200, view(call, record)) if record else Reply(204)
