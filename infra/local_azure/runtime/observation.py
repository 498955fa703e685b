"""The state of one replica now, from its record and the state that its shim reports. Used by
`replica`.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from . import listening
from .record import ReplicaRecord
from .sidecar import console_name
from .status import container_details
from .workload import ReplicaStatus, SidecarStatus

State = dict[str, Any]


def replica_status(
    directory: Path, record: ReplicaRecord, state: State, *, ready: bool, started: bool
) -> ReplicaStatus:
    return ReplicaStatus(
        name=record.name,
        created=datetime.fromisoformat(record.created),
        ready=ready,
        started=started,
        restart_count=state["restarts"],
        running_state=state["phase"],
        details=container_details(state, record.container),
        pid=state["pid"],
        log=directory / "console.log",
        beside=tuple(_sidecar(directory, entry) for entry in state.get("beside", ())),
    )


def has_ended(before: State, state: State) -> bool:
    """Whether a run of the container ended between two states, also one that was so short that
    neither shows it.
    """
    last = state.get("last")
    # A container that could not be created has a last end as well, and no run.
    ran = last is not None and last["reason"] in ("Completed", "Error")
    unseen = ran and before["pid"] is None and last != before.get("last")
    return unseen or (before["pid"] is not None and before["pid"] != state["pid"])


def crashes(state: State, counted: int, *, ready: bool) -> int:
    """The crashes since the replica was ready, those of the containers beside the first one too."""
    beside: list[int] = [] if ready else [entry["restarts"] for entry in state.get("beside", ())]
    return max(counted, int(state["reason"] == "CrashLoopBackOff"), *beside)


def port_mismatch(record: ReplicaRecord, state: State, *, started: bool) -> str:
    """What Azure says of a container that is up and listens elsewhere."""
    target, pid = record.target_port, state["pid"]
    if started or target is None or pid is None:
        return ""
    found = listening.ports(pid)
    if not found or target in found:
        return ""
    return f"The TargetPort {target} does not match the listening port {min(found)}."


def complete(state: State) -> bool:
    """Whether the containers beside the first one run, as a pod's readiness asks."""
    return all(entry["phase"] == "Running" for entry in state.get("beside", ()))


def _sidecar(directory: Path, state: State) -> SidecarStatus:
    return SidecarStatus(
        state["name"],
        state["restarts"],
        state["phase"],
        container_details(state, state["name"]),
        directory / console_name(state["name"]),
    )
