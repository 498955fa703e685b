"""Long writes of apps, jobs and environments: one operation at a time on each resource, and the
addresses where clients ask about it. Used by the providers of Microsoft.App.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.local_azure.arm.call import Call
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.operations import Operation, Operations
from infra.local_azure.arm.polling import Polling, address
from infra.local_azure.arm.reply import Reply
from infra.local_azure.changes import Changes
from infra.local_azure.store import Record, Store

from .naming import ENVIRONMENT
from .records import Body, Records


@dataclass(frozen=True)
class Wording:
    """The names of one type: `noun` in messages, `code` in error codes, `segment` in addresses."""

    noun: str
    code: str
    segment: str


class Writes:
    """Every method takes the wording of the type that it works on."""

    def __init__(
        self,
        store: Store,
        records: Records,
        operations: Operations,
        polling: Polling,
        changes: Changes,
    ) -> None:
        self._store = store
        self._records = records
        self._operations = operations
        self._polling = polling
        self._changes = changes

    def check_idle(self, wording: Wording, key: str, name: str) -> None:
        """Refuse a write while an operation runs on the resource."""
        running = self._operations.busy(key)
        if running is not None:
            text = (
                f"Cannot modify {wording.noun} '{name}' because there is an active provisioning"
                f" operation in progress. OperationId: '{running.id}'"
            )
            raise conflict(f"{wording.code}OperationInProgress", text)

    def environment(self, wording: Wording, sent: Body, known: Record | None) -> Record:
        """The environment that an app or a job asks for. It must exist and be provisioned, and an
        existing app or job cannot change to another one.
        """
        # Clients of older api-versions send the second name, and Azure takes both.
        wanted = sent.get("environmentId") or sent.get("managedEnvironmentId")
        wanted = wanted or (known.body["properties"]["environmentId"] if known else None)
        if not wanted:
            raise bad_request(
                f"{wording.code}EnvironmentRequired", "The property 'environmentId' is required."
            )
        record = self._store.get(str(wanted))
        if record is None or record.kind != ENVIRONMENT:
            raise bad_request(
                "ManagedEnvironmentNotFound", f"The environment '{wanted}' was not found."
            )
        if known and record.key != known.private["environment"]:
            raise bad_request(
                f"{wording.code}EnvironmentCannotBeChanged",
                f"The environment of {wording.noun} cannot be changed.",
            )
        # Azure mounts and places nothing in an environment before its provisioning has succeeded.
        state = record.body["properties"]["provisioningState"]
        if state != "Succeeded":
            text = (
                f"The environment '{record.name}' is not provisioned: its provisioning state is"
                f" '{state}'."
            )
            raise conflict("ManagedEnvironmentNotProvisioned", text)
        return record

    def begun(
        self, wording: Wording, call: Call, record: Record, running: Operation
    ) -> dict[str, str]:
        """The headers of an answer that carries the resource itself."""
        return {
            "Azure-AsyncOperation": _address(wording, call, record, running, "Statuses"),
            "x-ms-async-operation-timeout": "PT15M",
            **self._polling.waiting(call),
        }

    def accepted(
        self,
        wording: Wording,
        call: Call,
        record: Record,
        running: Operation,
        *,
        status: bool = False,
    ) -> Reply:
        """202 without a body; `status`: with the address of the status beside that of the
        result.
        """
        headers = {"Location": _address(wording, call, record, running, "Results")}
        if status:
            headers["Azure-AsyncOperation"] = _address(wording, call, record, running, "Statuses")
        return Reply(202, None, {**headers, **self._polling.waiting(call)})

    def delete(
        self,
        wording: Wording,
        call: Call,
        finish: str,
        *,
        state: str = "Deleting",
        factor: float = 1.0,
        check: Callable[[Record], None] | None = None,
    ) -> Reply:
        """204 when it is not there; a second DELETE joins the operation of the first. `check`
        raises when the deletion must be refused.
        """
        self._records.group(call)
        record = self._store.get(call.target.key)
        if record is None:
            return Reply(204)
        running = self._operations.busy(record.key)
        if running is None or running.finish != finish:
            # Any other operation ends first: Azure answers 409 meanwhile, and clients retry on
            # that.
            self.check_idle(wording, record.key, record.name)
            if check is not None:
                check(record)
            record.body["properties"]["provisioningState"] = state
            running = self._records.write(record, finish, factor=factor)
            self._changes.notify()
        return self.accepted(wording, call, record, running)

    def status(self, wording: Wording, call: Call) -> Reply:
        return self._polling.status(call, self._asked(wording, call))

    def result(self, wording: Wording, call: Call, view: Callable[[Call, Record], Any]) -> Reply:
        return self._polling.result(call, self._asked(wording, call), view)

    def _asked(self, wording: Wording, call: Call) -> Operation:
        running = self._operations.get(call.target.name)
        if running is None:
            raise ArmError(
                404,
                f"{wording.code}OperationNotFound",
                f"The operation '{call.target.name}' was not found.",
            )
        return running


def _address(wording: Wording, call: Call, record: Record, running: Operation, kind: str) -> str:
    segment, place = f"{wording.segment}Operation{kind}", record.body["location"]
    return address(call, "Microsoft.App", place, segment, running, status=kind == "Statuses")
