"""Long-running operations: a write begins one, a timer finishes it, and the store keeps it, so that
a restarted server continues it.

A finisher is a named function of a provider; the store keeps its name and argument, never code.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from infra.local_azure import clock
from infra.local_azure.store import Store

from .errors import ArmError
from .pace import Pace

Body = dict[str, Any]
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


class Mishaps(Protocol):
    """Scripted faults of operations: they make one slower, or end it without its finisher."""

    def meet(self, finish: str, resource: str, *, fresh: bool) -> tuple[float, Body | None]:
        """The additional seconds of a new operation, and its scripted ending (None: the normal
        one). `fresh`: it creates its resource.
        """

    def leave(self, finish: str, resource: str, ending: Body) -> None:
        """Put the resource into the state in which this ending leaves it."""


class Operations:
    """`pace` says how long they take, `mishaps` which of them a scripted fault changes."""

    def __init__(self, store: Store, pace: Pace, mishaps: Mishaps) -> None:
        self._store = store
        self._pace = pace
        self._mishaps = mishaps
        self._finishers: dict[str, Finisher] = {}
        self._ended: Callable[[Operation, str], None] = lambda *_: None

    def add(self, finishers: Mapping[str, Finisher]) -> None:
        """The functions that finish a provider's operations, by the names that the store keeps."""
        self._finishers |= finishers

    def watch(self, ended: Callable[["Operation", str], None]) -> None:
        """Call `ended` with the end of each operation."""
        self._ended = ended

    def begin(
        self,
        resource: str,
        finish: str,
        *,
        factor: float = 1.0,
        argument: dict[str, Any] | None = None,
    ) -> Operation:
        """Start one; it finishes `factor` times its ordinary length from now."""
        now, whole = clock.now(), dict(argument or {})
        # Decided now and stored, because a restart must not change how it ends.
        late, ending = self._mishaps.meet(finish, resource, fresh=factor > 1)
        if ending is not None:
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
        """Continue what a previous server left unfinished, and forget what is a day old."""
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
        """Run the finisher and mark the end in one transaction: if the process is killed in
        between, both are repeated.
        """
        status, error = "Succeeded", None
        current = self.get(operation.id)
        if current is None or current.done:
            return  # the write that began it was rolled back
        try:
            with self._store.transaction():
                if (ending := operation.argument.get("ending")) is None:
                    self._finishers[operation.finish](operation)
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
        """End as a scripted fault says: the resource is Failed, with or without the change."""
        deceived = ending["status"] == "Succeeded"
        if deceived:
            self._finishers[operation.finish](operation)
        self._mishaps.leave(operation.finish, operation.resource, ending)
        error = None if deceived else {"code": ending["code"], "message": ending["message"]}
        self._mark(operation, ending["status"], error)

    def _mark(self, operation: Operation, status: str, error: dict[str, str] | None) -> None:
        self._store.execute(
            "update operations set status = ?, error = ? where id = ?",
            (status, json.dumps(error) if error else None, operation.id),
        )
        self._ended(operation, status)


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
