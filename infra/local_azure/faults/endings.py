"""How a scripted fault ends a long-running operation, and the state in which it leaves the
resource. Given to `arm.operations`.
"""

from typing import Any

from infra.local_azure.changes import Changes
from infra.local_azure.store import Store

from .events import CURRENT
from .fault import Fault
from .fault_store import FaultStore
from .kinds import OPERATIONS

_EXPIRED = "Operation expired"
_CAPACITY = (
    "No capacity available in this region for provisioning an environment, please try again in"
    " another region."
)
_UNMADE = {"account.created"}  # a resource whose creation failed does not exist
_KEPT = {"group.deleted": "Succeeded"}  # a resource whose deletion failed is unchanged


class Endings:
    """The mishaps of operations; one per server."""

    def __init__(self, store: Store, faults: FaultStore, changes: Changes) -> None:
        self._store = store
        self._faults = faults
        self._changes = changes

    def meet(
        self, finish: str, resource: str, *, fresh: bool
    ) -> tuple[float, dict[str, Any] | None]:
        """The additional seconds of a new operation, and its scripted ending (None: the normal
        one).
        """
        event = CURRENT.get()
        # Only the creation of an environment asks a region for capacity.
        creates = finish == "environment.done" and fresh
        kinds = OPERATIONS if creates else OPERATIONS - {"NoCapacity"}
        if event is None or (fault := self._faults.pick(event, kinds)) is None:
            return 0.0, None
        return fault["seconds"], _ending(fault, finish, resource)

    def leave(self, finish: str, resource: str, ending: dict[str, Any]) -> None:
        """Put the resource into the state in which this ending leaves it."""
        _leave(self._store, finish, resource, ending)
        self._changes.notify()


def _ending(fault: Fault, finish: str, resource: str) -> dict[str, Any] | None:
    """The ending that the store keeps with the operation: its last status, the resource's state,
    and the error to report. None if it ends well.
    """
    if fault.kind == "OperationSlow":
        return None
    code, message = _words(fault, finish, resource.rsplit("/", 1)[-1])
    state = "Canceled" if fault.kind == "OperationCanceled" else "Failed"
    status = "Succeeded" if fault.kind == "OperationDeceives" else state
    shown = _EXPIRED if fault.kind == "OperationHangs" else f"ErrorCode: {code}, Message: {message}"
    return {"status": status, "state": state, "code": code, "message": message, "shown": shown}


def _leave(store: Store, finish: str, resource: str, made: dict[str, Any]) -> None:
    record = store.get(resource)
    if record is None:
        return
    if finish in _UNMADE:
        store.delete(resource)
        return
    state = _KEPT.get(finish, made["state"])
    record.body.setdefault("properties", {})["provisioningState"] = state
    if finish not in _KEPT:
        record.private["deploymentErrors"] = made["shown"]
    store.put(record)


def _words(fault: Fault, finish: str, name: str) -> tuple[str, str]:
    if fault.kind == "NoCapacity":
        return "ManagedEnvironmentNoAvailableCapacityInRegion", _CAPACITY
    code, message = {
        "app": (
            "ContainerAppOperationError",
            f"Failed to provision revision for container app '{name}'.",
        ),
        "environment": ("ManagedEnvironmentUpgradeError", "Update the managed environment failed."),
        "job": ("ContainerAppsJobOperationError", f"Failed to provision job '{name}'."),
    }.get(
        finish.split(".", maxsplit=1)[0],
        ("InternalServerError", "The operation failed because of an internal error."),
    )
    if fault.kind == "OperationCanceled":
        code, message = "OperationCanceled", "The operation was canceled."
    elif fault.kind == "OperationHangs":
        message = f"{message} Error details: {_EXPIRED}."
    return fault["code"] or code, fault["message"] or message
