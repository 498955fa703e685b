"""What the ARM side asks the scheduler to run, and what it reports back.

The providers build `Workload`s from stored container apps; `scheduler.Scheduler` keeps them true
and answers `RevisionStatus`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .schedule import CronRule


@dataclass(frozen=True)
class Mount:
    """One volume mount: `source` is a directory of this machine (subPath applied, made when
    missing), `target` the mountPath.

    A relative `source` lies in the replica's own folder and goes with it (EmptyDir, secrets);
    `files` are put into it. `smb` has the mount options of a share that is to be seen as an SMB
    client sees it; None is a plain directory.
    """

    source: Path
    target: str
    read_only: bool
    smb: str | None = None
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why no further replica can start: kubelet's reason and its sentence. Replicas that run are
    not touched.
    """

    reason: str
    message: str


@dataclass(frozen=True)
class Routing:
    """How the ingress treats the app: with `sticky` a client keeps its replica, `tcp` is not HTTP.

    `labels` are those of this revision.
    """

    labels: tuple[str, ...] = ()
    sticky: bool = False
    allow_insecure: bool = False
    tcp: bool = False


@dataclass(frozen=True)
class Step:
    """A container beside the first one of a replica, or one that runs to its end before it."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]


@dataclass(frozen=True)
class Workload:
    """One *active* revision, exactly as it must run. All times are Azure's: the scheduler's `speed`
    is applied by it.

    `env` has its secretRefs resolved; Azure's own CONTAINER_APP_* variables are added by the
    runtime. `probes` keep their ARM shape ({"type", "httpGet" | "tcpSocket", "initialDelaySeconds",
    ...}). `ingress_port` is the app's loopback port, the same in every revision of the app, or None
    without ingress. `weight` is the revision's share of traffic, 0..100. `claims` name the quotas
    of which each replica takes one (a GPU of the environment, a GPU of the region); without `gpu`
    it sees no GPU of this machine. `first` are the init containers, `beside` the containers after
    the first; probes and ingress know the first alone.
    """

    app: str
    app_id: str
    revision: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]
    probes: tuple[Mapping[str, Any], ...]
    target_port: int | None
    ingress_port: int | None
    fqdn: str
    dns_suffix: str
    min_replicas: int = 0
    max_replicas: int = 10
    concurrent_requests: int = 10
    cooldown_s: float = 300.0
    schedules: tuple[CronRule, ...] = ()
    termination_grace_s: float = 30.0
    weight: int = 0
    container: str = ""
    claims: tuple[str, ...] = ()
    gpu: bool = False
    refusal: Refusal | None = None
    routing: Routing = Routing()
    first: tuple[Step, ...] = ()
    beside: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """The revision's id in lower case: names are unique in a resource group only."""
        return revision_key(self.app_id, self.revision)

    def own_environment(self, replica: str) -> dict[str, str]:
        """Exactly the variables that Container Apps adds to a replica of an app."""
        port = {} if self.target_port is None else {"CONTAINER_APP_PORT": str(self.target_port)}
        return {
            "CONTAINER_APP_NAME": self.app,
            "CONTAINER_APP_REVISION": self.revision,
            "CONTAINER_APP_HOSTNAME": f"{self.revision}.{self.dns_suffix}",
            "CONTAINER_APP_ENV_DNS_SUFFIX": self.dns_suffix,
            "CONTAINER_APP_REPLICA_NAME": replica,
            **port,
        }


@dataclass(frozen=True)
class Task:
    """One execution of a job that should be running: `completions` replicas must end with 0,
    `parallelism` at a time.

    More than `retries` failed replicas, or `timeout_s` since `started` (epoch), fail it. `first`
    runs before the container; `blocked` says why no replica can be made now. `key` is unique here,
    `execution` in its job. A mount's source that is not absolute is a folder of the replica's own.
    """

    key: str
    job: str
    execution: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[Mount, ...]
    started: float
    timeout_s: float
    retries: int = 0
    parallelism: int = 1
    completions: int = 1
    first: tuple[Step, ...] = ()
    probes: tuple[Mapping[str, Any], ...] = ()
    grace_s: float = 30.0
    blocked: str = ""
    gpu: bool = False

    def own_environment(self, replica: str) -> dict[str, str]:
        """Exactly the variables that Container Apps adds to a replica of a job."""
        return {
            "CONTAINER_APP_JOB_NAME": self.job,
            "CONTAINER_APP_JOB_EXECUTION_NAME": self.execution,
            "CONTAINER_APP_REPLICA_NAME": replica,
        }


@dataclass(frozen=True)
class SidecarStatus:
    """A container beside the first one: `running_state` and `log` as in ReplicaStatus."""

    name: str
    restart_count: int
    running_state: str
    details: str
    log: Path


@dataclass(frozen=True)
class ReplicaStatus:
    """One replica as seen now.

    `running_state` is Running, Waiting or Terminated; `details` is Azure's runningStateDetails
    sentence; `pid` is the container's first process as this machine numbers it. `log` holds its
    console lines in the CRI format (`2026-11-23T06:27:00.123456789Z stdout F text`), the previous
    10 MiB beside it as `<log>.1`. An `ending` replica was told to stop.
    """

    name: str
    created: datetime
    ready: bool
    started: bool
    restart_count: int
    running_state: str
    details: str
    pid: int | None
    log: Path
    beside: tuple[SidecarStatus, ...] = ()
    ending: bool = False


@dataclass(frozen=True)
class RevisionStatus:
    """The health of one revision, in Azure's words.

    `health_state` is Healthy, Unhealthy or None (the string: not known yet); `running_state` one of
    Processing (no replica was placed yet), Activating, Running, RunningAtMaxScale, ScaledToZero,
    Degraded, Failed, ActivationFailed, Deprovisioning, Stopped. `details` is its
    runningStateDetails.
    """

    health_state: str
    running_state: str
    provisioning_error: str | None
    replicas: tuple[ReplicaStatus, ...]
    details: str = ""

    @property
    def provisioning_state(self) -> str:
        return "Provisioning" if self.running_state == "Processing" else "Provisioned"


def revision_key(app_id: str, revision: str) -> str:
    """The key by which the scheduler knows a revision."""
    return f"{app_id}/revisions/{revision}".lower()
