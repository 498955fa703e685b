"""The facts that a look at an object gives, for its dependents and for the status. One class for
each kind; `kinds` makes them, and they are stored as JSON in camel case. They hold no secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import not_
from typing import Annotated, Any, ClassVar, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from serving.catalogue import AdapterReport, Stage, TrafficReport
from serving.gateway.routes import RoutedState, StartSeen


def _is_none(value: object) -> bool:
    return value is None


_ABSENT = Field(exclude_if=_is_none)
OptionalText = Annotated[str | None, _ABSENT]
OptionalCount = Annotated[int | None, _ABSENT]


@dataclass(frozen=True)
class Outputs:
    """The base of all: a value that becomes JSON and comes back from it."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    def dump(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = _adapter(type(self)).dump_python(self, mode="json", by_alias=True)
        return found

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self | None:
        """What `dump` wrote; None where nothing is stored, or by a release that wrote otherwise."""
        try:
            found: Self | None = _adapter(cls).validate_python(stored) if stored else None
        except ValidationError:
            return None
        return found


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(of: type) -> TypeAdapter[Any]:
    if of not in _adapters:
        _adapters[of] = TypeAdapter(of)
    return _adapters[of]


@dataclass(frozen=True)
class ResourceOutputs(Outputs):
    """Any ARM resource."""

    id: str = ""


@dataclass(frozen=True)
class WorkspaceOutputs(ResourceOutputs):
    customer_id: str | None = None


@dataclass(frozen=True)
class StorageOutputs(ResourceOutputs):
    """Fingerprints of the key that a registered share holds and of the key it was made with."""

    key_fingerprint: str | None = None
    registered_with: str | None = None


@dataclass(frozen=True)
class FolderOutputs(Outputs):
    """A folder on the share. A folder of the user has its number of `files`; a published one has
    the speed of its last large upload (`bytes_per_second`).
    """

    path: str = ""
    digest: OptionalText = None
    files: OptionalCount = None
    bytes_per_second: OptionalCount = None


@dataclass(frozen=True)
class JobOutputs(ResourceOutputs):
    """The model that a job has brought, once it is whole."""

    path: OptionalText = None
    digest: OptionalText = None
    files: OptionalCount = None


@dataclass(frozen=True)
class TrialOutputs(Outputs):
    """The version of an adapter that is on trial."""

    digest: str
    weight: int


@dataclass(frozen=True)
class NamedVersion(Outputs):
    """A version of an adapter, and how a document names it."""

    digest: str
    source: str


@dataclass(frozen=True)
class HeldOutputs(Outputs):
    """The decision that stands against the document; `source` names the version that serves."""

    outcome: str
    message: str
    at: str
    source: str


@dataclass(frozen=True)
class AdapterOutputs(Outputs):
    """One adapter in the catalogue; `asked` is what a person's order refers to."""

    name: str
    digest: str
    last_good: OptionalText = None
    last_good_path: OptionalText = None
    canary: Annotated[TrialOutputs | None, _ABSENT] = None
    asked: OptionalText = None
    source: OptionalText = None
    document_canary: Annotated[NamedVersion | None, _ABSENT] = None
    held: Annotated[HeldOutputs | None, _ABSENT] = None


@dataclass(frozen=True)
class KeptAdapter(Outputs):
    name: str
    digest: str


@dataclass(frozen=True)
class KeptAdapters(Outputs):
    """A set of adapters that the service has served from `at` on. If a person went back to an
    earlier set, `back_to` is the number of that one, with the revision that serves with it.
    """

    number: int
    at: str
    engine: str
    adapters: tuple[KeptAdapter, ...] = ()
    back_to: OptionalCount = None
    revision: OptionalText = None


@dataclass(frozen=True)
class CatalogueOutputs(Outputs):
    """`sets` are the adapters served so far, oldest first; `asked` is what an order to go back to
    one of them refers to, `held` whether such an order stands.
    """

    engine: str
    epoch: int
    generation: int
    adapters: tuple[AdapterOutputs, ...] = ()
    asked: OptionalText = None
    sets: Annotated[tuple[KeptAdapters, ...], Field(exclude_if=not_)] = ()
    held: Annotated[bool, Field(exclude_if=not_)] = False


@dataclass(frozen=True)
class KeyUsage(Outputs):
    """How much a key has used all models since the day `since` began, in UTC. `caller` is the key's
    name.
    """

    caller: str
    since: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    errors: int = 0
    held_seconds: float = 0.0


@dataclass(frozen=True)
class RoutesOutputs(Outputs):
    """A gateway's routes, the services behind it as its replicas see them, and the recent usage of
    its callers, the greatest users first.
    """

    generation: int
    services: tuple[RoutedState, ...] = ()
    usage: Annotated[tuple[KeyUsage, ...], Field(exclude_if=not_)] = ()


DEGRADED = "Degraded"


def has_failed(running: str, health: str) -> bool:
    """Whether a revision in these states of Azure's answers no request."""
    degraded = running == DEGRADED and health != "Healthy"
    return running in Revision.FAILED or degraded or health == "Unhealthy"


@dataclass(frozen=True)
class Revision(Outputs):
    """A revision as ARM lists it. `serving` means healthy with at least one ready replica, or
    scaled to zero after it had been. A healthy revision that is `Degraded` serves too: Azure says
    so of one replica that fails beside others that are ready.
    """

    FAILED: ClassVar[frozenset[str]] = frozenset({"ActivationFailed", "Failed"})

    name: str
    active: bool
    weight: int
    health: str
    running: str
    replicas: int
    error: str | None = None
    created_time: str | None = None

    @property
    def serving(self) -> bool:
        return self.active and self.health == "Healthy" and self.running not in self.FAILED

    @property
    def failed(self) -> bool:
        return self.active and has_failed(self.running, self.health)

    @property
    def limps(self) -> bool:
        """Whether it serves, and a replica of it fails."""
        return self.serving and self.running == DEGRADED

    @property
    def unproven(self) -> bool:
        """Whether it is active and does not serve. False for an inactive one, because nobody can
        know.
        """
        return self.active and not self.serving


@dataclass(frozen=True)
class SeenReplica(Outputs):
    """A replica as ARM lists it."""

    name: str
    revision: str
    ready: bool
    restarts: int
    created_time: str | None = None
    details: str = ""


@dataclass(frozen=True)
class ArmView(Outputs):
    """What ARM listed, and when. Replicas are listed less often than revisions, while the revisions
    show that nothing has changed.
    """

    revisions: tuple[Revision, ...] = ()
    replicas: tuple[SeenReplica, ...] = ()
    looked_at: str = ""
    replicas_at: str = ""


@dataclass(frozen=True)
class RevisionRow(Outputs):
    """A revision in the status."""

    name: str
    active: bool
    traffic_weight: int
    health_state: str
    running_state: str
    serving: bool
    error: str | None = None

    @property
    def failed(self) -> bool:
        return self.active and has_failed(self.running_state, self.health_state)


@dataclass(frozen=True)
class Startup(Outputs):
    """`stage` is the present stage of the start, None once the replica was ready; `stages` are the
    seconds that earlier stages took, by the replica's own report.
    """

    predicted_seconds: int
    seconds: float | None = None
    stage: Annotated[Stage | None, _ABSENT] = None
    stages: Annotated[Mapping[Stage, float], Field(exclude_if=not_)] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplicaRow(Outputs):
    """A replica in the status: ARM's view and, for a model, the replica's own report."""

    name: str
    revision: str
    ready: bool
    restarts: int
    pid: int | None = None
    started_at: str | None = None
    adapters: tuple[AdapterReport, ...] = ()
    message: str = ""
    generation: OptionalCount = None
    heartbeat: OptionalText = None
    api_keys: Annotated[tuple[str, ...] | None, _ABSENT] = None
    startup: Annotated[Startup | None, _ABSENT] = None
    traffic: Annotated[TrafficReport | None, _ABSENT] = None


@dataclass(frozen=True)
class Boot(Outputs):
    """The boot of `revision`: since when it is active without serving (`since`), and since when
    Azure calls it failed (`failing`), in seconds of `Clock.elapsed` within the period `period`.
    `restarts` are those of its replicas at the first look. They do not count as crashes, because
    its files may not have been published yet.
    """

    revision: str
    period: str
    since: float
    failing: float | None = None
    restarts: int = 0


@dataclass(frozen=True)
class SeenStart(Outputs):
    """A cold start that ended well: its replica, since when the process ran, and how long it took
    in all.
    """

    replica: str
    began: str
    start: StartSeen


@dataclass(frozen=True)
class ScheduledReplicas(Outputs):
    """How many replicas a schedule that is under way keeps, and until when."""

    min_replicas: int
    until: str


@dataclass(frozen=True)
class AppOutputs(ResourceOutputs):
    """A container app. `proven` says that the wanted revision serves, `served_adapters` have been
    served in some version, `api_keys` are names and SHA-256 of the keys in its secrets, `secrets`
    the names of those that documents gave it, `adopted` that it was there before any document.
    `asked_revision` is the one that the document asks for, `held` why another one serves, `engine`
    the digest under which the replicas that serve then report. `starts` are its newest cold starts.
    """

    asked_revision: OptionalText = None
    held: OptionalText = None
    engine: OptionalText = None
    boot: Annotated[Boot | None, _ABSENT] = None

    endpoint: str | None = None
    arm: ArmView = ArmView()
    revisions: tuple[RevisionRow, ...] = ()
    replicas: tuple[ReplicaRow, ...] = ()
    proven: bool = False
    proven_revision: str | None = None
    served_adapters: tuple[str, ...] = ()
    asleep: bool = False
    starts: Annotated[tuple[SeenStart, ...], Field(exclude_if=not_)] = ()
    scheduled: Annotated[ScheduledReplicas | None, _ABSENT] = None
    api_keys: tuple[tuple[str, str], ...] = ()
    secrets: Annotated[tuple[str, ...], Field(exclude_if=not_)] = ()
    adopted: Annotated[bool, Field(exclude_if=not_)] = False
