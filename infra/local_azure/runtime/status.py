"""A revision's health in Azure's words, from what is known of its replicas. Pure; called by
`scheduler`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .workload import ReplicaStatus, RevisionStatus, Workload

PROGRESS_DEADLINE_S = 600.0
_NEVER_STARTED = (
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerError",
    "StartError",
    "FailedMount",
)


@dataclass(frozen=True)
class Observed:
    """One replica: its status, kubelet's reason why it does not run, its crashes since it was
    ready, and its age for Azure.

    `placed` is False while it waits for quota: only the system log mentions such a replica.
    `hint` is a guess why it does not get ready.
    """

    status: ReplicaStatus
    reason: str
    message: str
    crashes: int
    age_s: float
    placed: bool = True
    hint: str = ""


def revision_status(
    workload: Workload | None, replicas: Sequence[Observed], *, proven: bool, booted: bool
) -> RevisionStatus:
    """`workload` is None for an inactive revision. `proven`: some replica was ready once. `booted`:
    it was given its first.
    """
    placed = [replica for replica in replicas if replica.placed]
    statuses = tuple(replica.status for replica in placed)
    if workload is None:
        return RevisionStatus(
            "Healthy" if proven else "None",
            "Deprovisioning" if placed else "Stopped",
            None,
            statuses,
        )
    if not replicas:
        return _without_replicas(proven=proven, booted=booted, minimum=workload.min_replicas)
    broken = [replica for replica in placed if _broken(replica, proven=proven)]
    error = _error(workload, broken)
    details = f"{len(broken)}/{len(replicas)} {error}" if error else ""
    # One ready replica is enough for a healthy revision, whatever the others do.
    if any(status.ready for status in statuses):
        full = len(placed) >= workload.max_replicas and all(status.ready for status in statuses)
        running = "Degraded" if broken else "RunningAtMaxScale" if full else "Running"
        return RevisionStatus("Healthy", running, error, statuses, details)
    if broken:
        return RevisionStatus(
            "Unhealthy", "Degraded" if proven else "Failed", error, statuses, details
        )
    # Azure gives up a revision that never became ready; one that did may take its time.
    if not proven and min(replica.age_s for replica in replicas) > PROGRESS_DEADLINE_S:
        late = f"Deployment Progress Deadline Exceeded. 0/{len(replicas)} replicas ready."
        return RevisionStatus("Unhealthy", "ActivationFailed", late, statuses, late)
    hint = next((replica.hint for replica in placed if replica.hint), "")
    return RevisionStatus("None", "Activating" if placed else "Processing", None, statuses, hint)


def _without_replicas(*, proven: bool, booted: bool, minimum: int) -> RevisionStatus:
    if proven and minimum == 0:
        return RevisionStatus("Healthy", "ScaledToZero", None, ())
    if booted and minimum == 0:
        late = (
            "Deployment Progress Deadline Exceeded. The revision was scaled to zero before a"
            " replica became ready."
        )
        return RevisionStatus("Unhealthy", "ActivationFailed", late, (), late)
    return RevisionStatus("None", "Processing", None, ())


def _broken(replica: Observed, *, proven: bool) -> bool:
    """One crash of a revision that has worked is a restart; more, or a container that never
    started, is a failure.
    """
    return not replica.status.ready and (
        replica.reason in _NEVER_STARTED or replica.crashes > (1 if proven else 0)
    )


def _error(workload: Workload, broken: Sequence[Observed]) -> str | None:
    if not broken:
        return None
    told = next(
        (replica for replica in broken if replica.reason in _NEVER_STARTED and replica.message),
        None,
    )
    return told.message if told else f"Container crashing: {workload.container or workload.app}"


def container_details(state: Mapping[str, Any], container: str) -> str:
    """Azure's sentence on a container, from the shim's state of it."""
    if state["phase"] == "Running":
        at = datetime.fromtimestamp(state["started_at"]).astimezone()
        return (
            f"Container started at: {at.month}/{at.day}/{at.year}"
            f" {at.hour % 12 or 12}:{at:%M:%S %p}."
        )
    if state["phase"] == "Terminated":
        return f"Container {container} was terminated with reason: {state['reason']}."
    message = state.get("message", "")
    return f"Container is waiting with reason: {state['reason']}." + (
        f" {message}" if message else ""
    )
