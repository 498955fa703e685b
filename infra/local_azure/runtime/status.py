"""A revision's health in Azure's words, from what is known of its replicas. Pure; called by `scheduler`."""

from collections.abc import Sequence
from dataclasses import dataclass

from .workload import ReplicaStatus, RevisionStatus

PROGRESS_DEADLINE_S = 600.0
_PULL = ("ErrImagePull", "ImagePullBackOff", "CreateContainerError", "StartError")


@dataclass(frozen=True)
class Observed:
    """One replica: its status, kubelet's reason why it does not run, and its crashes since it was ready."""

    status: ReplicaStatus
    reason: str
    message: str
    crashes: int
    age_s: float


def revision_status(
    app: str, replicas: Sequence[Observed], *, active: bool, proven: bool, booted: bool, minimum: int, maximum: int
) -> RevisionStatus:
    """`proven`: some replica of it was ready once. `booted`: it was given its first replica."""
    statuses = tuple(replica.status for replica in replicas)
    if not active:
        return RevisionStatus("Healthy" if proven else "None", "Deprovisioning" if replicas else "Stopped", None, statuses)
    if not replicas:
        return _without_replicas(proven=proven, booted=booted, minimum=minimum)
    broken = [replica for replica in replicas if _broken(replica, proven=proven)]
    error = _error(app, broken, len(replicas))
    if any(status.ready for status in statuses):
        full = len(replicas) >= maximum and all(status.ready for status in statuses)
        return RevisionStatus("Healthy", "Degraded" if broken else "RunningAtMaxScale" if full else "Running", error, statuses)
    if broken:
        return RevisionStatus("Unhealthy", "Degraded" if proven else "ActivationFailed", error, statuses)
    if not proven and min(replica.age_s for replica in replicas) > PROGRESS_DEADLINE_S:
        late = f"Deployment Progress Deadline Exceeded. 0/{len(replicas)} replicas ready."
        return RevisionStatus("Unhealthy", "ActivationFailed", late, statuses)
    return RevisionStatus("None", "Activating", None, statuses)


def _without_replicas(*, proven: bool, booted: bool, minimum: int) -> RevisionStatus:
    if proven and minimum == 0:
        return RevisionStatus("Healthy", "ScaledToZero", None, ())
    if booted and minimum == 0:
        late = "Deployment Progress Deadline Exceeded. The revision was scaled to zero before a replica became ready."
        return RevisionStatus("Unhealthy", "ActivationFailed", late, ())
    return RevisionStatus("None", "Activating", None, ())


def _broken(replica: Observed, *, proven: bool) -> bool:
    """One crash of a revision that has worked is a restart; more, or a container that never started, is a failure."""
    return not replica.status.ready and (replica.reason in _PULL or replica.crashes > (1 if proven else 0))


def _error(app: str, broken: Sequence[Observed], total: int) -> str | None:
    if not broken:
        return None
    told = next((replica for replica in broken if replica.reason in _PULL and replica.message), None)
    return told.message if told else f"{len(broken)}/{total} Container crashing: {app}"
