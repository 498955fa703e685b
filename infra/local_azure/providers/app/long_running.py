"""What apps, jobs and environments do alike: one operation at a time on each, asked about at
addresses of one form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.local_azure.arm import operations
from infra.local_azure.arm.call import Call, Reply
from infra.local_azure.arm.errors import ArmError, bad_request, conflict
from infra.local_azure.arm.operations import Operation
from infra.local_azure.azure import Azure
from infra.local_azure.providers import tracked
from infra.local_azure.providers.tracked import Body
from infra.local_azure.store import Record

ENVIRONMENTS = "microsoft.app/managedenvironments"


@dataclass(frozen=True)
class LongRunning:
    """The words of one type: `noun` in sentences, `code` before an error's name, `segment` of the
    addresses.
    """

    noun: str
    code: str
    segment: str

    def idle(self, azure: Azure, key: str, name: str) -> None:
        """Refuse a write while an operation runs on the resource."""
        running = azure.operations.busy(key)
        if running is not None:
            text = (
                f"Cannot modify {self.noun} '{name}' because there is an active provisioning"
                f" operation in progress. OperationId: '{running.id}'"
            )
            raise conflict(f"{self.code}OperationInProgress", text)

    def environment(self, azure: Azure, sent: Body, known: Record | None) -> Record:
        """The environment that an app or a job asks for: there, provisioned, and the
        same for ever.
        """
        wanted = sent.get("environmentId") or sent.get("managedEnvironmentId")
        wanted = wanted or (known.body["properties"]["environmentId"] if known else None)
        if not wanted:
            raise bad_request(
                f"{self.code}EnvironmentRequired", "The property 'environmentId' is required."
            )
        record = azure.store.get(str(wanted))
        if record is None or record.kind != ENVIRONMENTS:
            raise bad_request(
                "ManagedEnvironmentNotFound", f"The environment '{wanted}' was not found."
            )
        if known and record.key != known.private["environment"]:
            raise bad_request(
                f"{self.code}EnvironmentCannotBeChanged",
                f"The environment of {self.noun} cannot be changed.",
            )
        state = record.body["properties"]["provisioningState"]
        if state != "Succeeded":
            text = (
                f"The environment '{record.name}' is not provisioned: its provisioning state is"
                f" '{state}'."
            )
            raise conflict("ManagedEnvironmentNotProvisioned", text)
        return record

    def begun(self, call: Call, record: Record, running: Operation) -> dict[str, str]:
        """The headers of an answer that carries the resource itself."""
        status = self._url(call, record, running, "Statuses")
        return {
            "Azure-AsyncOperation": status,
            "x-ms-async-operation-timeout": "PT15M",
            **operations.waiting(call),
        }

    def accepted(
        self, call: Call, record: Record, running: Operation, *, status: bool = False
    ) -> Reply:
        """202 without a body; `status`: with the address of the status beside that of the
        result.
        """
        headers = {"Location": self._url(call, record, running, "Results")}
        if status:
            headers["Azure-AsyncOperation"] = self._url(call, record, running, "Statuses")
        return Reply(202, None, {**headers, **operations.waiting(call)})

    def delete(
        self,
        call: Call,
        finish: str,
        *,
        state: str = "Deleting",
        factor: float = 1.0,
        check: Callable[[Azure, Record], None] | None = None,
    ) -> Reply:
        """204 when it is not there; a second DELETE meets the operation of the first. `check`
        raises what stands against it.
        """
        azure = call.azure
        tracked.require_group(call)
        record = azure.store.get(call.target.key)
        if record is None:
            return Reply(204)
        running = azure.operations.busy(record.key)
        if running is None or running.finish != finish:
            self.idle(azure, record.key, record.name)
            if check is not None:
                check(azure, record)
            record.body["properties"]["provisioningState"] = state
            running = tracked.write(azure, record, finish, factor=factor)
            azure.composition.changed()
            azure.dispatch.changed()
        return self.accepted(call, record, running)

    def status(self, call: Call) -> Reply:
        return operations.status_reply(call, self._asked(call))

    def result(self, call: Call, view: Callable[[Call, Record], Any]) -> Reply:
        return operations.result_reply(call, self._asked(call), view)

    def _asked(self, call: Call) -> Operation:
        running = call.azure.operations.get(call.target.name)
        if running is None:
            raise ArmError(
                404,
                f"{self.code}OperationNotFound",
                f"The operation '{call.target.name}' was not found.",
            )
        return running

    def _url(self, call: Call, record: Record, running: Operation, kind: str) -> str:
        segment, place = f"{self.segment}Operation{kind}", record.body["location"]
        return operations.url(
            call, "Microsoft.App", place, segment, running, status=kind == "Statuses"
        )
