"""How a scripted fault ends a long-running operation, and what it leaves of the resource. Used by
`arm.operations`.
"""

from typing import Any

from infra.local_azure.store import Store

from .fault import Fault

_EXPIRED = "Operation expired"
_CAPACITY = (
    "No capacity available in this region for provisioning an environment, please try again in"
    " another region."
)
_UNMADE = {"account.created"}  # what could not be made is not there
_KEPT = {"group.deleted": "Succeeded"}  # what could not be deleted is as it was


def ending(fault: Fault, finish: str, resource: str) -> dict[str, Any] | None:
    """What the store keeps with the operation: its last status, the resource's state and the error
    told. None: it ends well.
    """
    if fault.kind == "OperationSlow":
        return None
    code, message = _words(fault, finish, resource.rsplit("/", 1)[-1])
    state = "Canceled" if fault.kind == "OperationCanceled" else "Failed"
    status = "Succeeded" if fault.kind == "OperationDeceives" else state
    shown = _EXPIRED if fault.kind == "OperationHangs" else f"ErrorCode: {code}, Message: {message}"
    return {"status": status, "state": state, "code": code, "message": message, "shown": shown}


def leave(store: Store, finish: str, resource: str, made: dict[str, Any]) -> None:
    """The resource after its operation ended so."""
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
