"""The specs of desired resources: what `composition` derives from documents and `kinds` drive Azure
to. Pure values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from reconciler.api.digest import Tree
from serving.catalogue import ApiKey, Cors, Expectation, KeyLimits, Limits
from serving.gateway.routes import EntraPolicy, HoldLimits

MOUNT_PATH = "/mnt/moorage"
REPORTS_PATH = "/mnt/moorage-replicas"
# A share's metadata keys; names of metadata are identifiers.
SHARE_ENVIRONMENT, SHARE_OWNER = "moorage_environment", "moorage_owner"


@dataclass(frozen=True)
class ResourceSpec:
    """One ARM resource.

    `body` is all that Moorage sends when it creates the resource, `asked` the part the document
    itself sets: on a resource that existed before, nothing else is compared or written. `named`
    says that the document allows adoption: it gives the name or, of a container app, says so.
    Bodies are ARM JSON in camel case without secrets.
    """

    name: str
    resource_group: str
    environment: str
    body: Mapping[str, Any]
    asked: Mapping[str, Any] = field(default_factory=dict)
    named: bool = False


@dataclass(frozen=True)
class ShareSpec(ResourceSpec):
    """A file share of `account`."""

    account: str = ""


@dataclass(frozen=True)
class EnvironmentStorageSpec(ResourceSpec):
    """A share registered with a managed environment; the account key is added when it is
    written.
    """

    managed_environment: str = ""
    account: str = ""
    together: tuple[str, ...] = ()  # the names under which the share is registered at the same time


@dataclass(frozen=True)
class ShareRef:
    """Where a share is: enough to open it, and the Environment whose share it is."""

    environment: str
    resource_group: str
    account: str
    share: str


@dataclass(frozen=True)
class FolderSpec:
    """A folder on the share. With `tree`, local files published under a content-addressed `prefix`;
    without, a folder the user put there (`share://`), which is only looked at.
    """

    share: ShareRef
    prefix: str
    digest: str
    tree: Tree | None = field(default=None, compare=False)

    @property
    def environment(self) -> str:
        return self.share.environment


@dataclass(frozen=True)
class JobSpec(ResourceSpec):
    """A container-apps job that fetches the hub's model `source` (`size` bytes, 0 if unknown) to
    `folder` on the share.
    """

    share: ShareRef = field(kw_only=True)
    folder: str = ""
    source: str = ""
    size: int = 0


@dataclass(frozen=True)
class CatalogueCanary:
    """Another version of an adapter, tried on `weight` of a hundred requests. `promote_after` in
    seconds, None for never.
    """

    digest: str
    path: str
    source: str
    weight: int
    max_error_rate: float
    promote_after: int | None = None
    evaluation: tuple[Expectation, ...] = ()


@dataclass(frozen=True)
class Order:
    """A person's decision about an adapter. It stands as long as the document asks for `asked`;
    `at` is in seconds since 1970.
    """

    action: Literal["promote", "rollback"]
    asked: str
    at: float


@dataclass(frozen=True)
class AdapterReturn:
    """A person's decision about all adapters of a service: those of set `to` serve, with
    `revision`, as long as the document asks for `asked`. `at` is in seconds since 1970.
    """

    asked: str
    to: int
    at: float
    revision: str = ""


@dataclass(frozen=True)
class Return:
    """A person's decision for an earlier generation: revision `serves` replaces `refused`, and the
    adapters of set `adapters` replace those that the document asks for (`asked`). A part that does
    not change is empty.
    """

    refused: str = ""
    serves: str = ""
    adapters: int = 0
    asked: str = ""


@dataclass(frozen=True)
class CatalogueAdapter:
    """One adapter as the document wants it, published at `path` on the share; `source` is how the
    document names it. `fault` is why its version, or its canary, cannot be served: it is not
    published then, and an adapter has neither digest nor path.
    """

    name: str
    digest: str
    path: str
    required: bool
    source: str = ""
    evaluation: tuple[Expectation, ...] = ()
    canary: CatalogueCanary | None = None
    order: Order | None = None
    shutdown_date: str | None = None
    fault: str = ""


@dataclass(frozen=True)
class CatalogueKey:
    """A key as the document wants it; an ACA secret holds its text."""

    name: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel_requests: int | None = None
    limits: KeyLimits | None = None
    evaluation: bool = False
    admin: bool = False

    def with_hash(self, sha256: str) -> ApiKey:
        """The key with its hash, as gates and gateways know it."""
        return ApiKey(
            name=self.name,
            sha256=sha256,
            models=self.models,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            parallel_requests=self.parallel_requests,
            limits=self.limits,
            evaluation=self.evaluation,
            admin=self.admin,
        )


@dataclass(frozen=True)
class GatewayInFront:
    """The gateway's container app, whose key opens a service too. `limits` replace the service's
    own for requests with that key, because the gateway enforces those of its callers.
    """

    app: str
    limits: KeyLimits | None = None


@dataclass(frozen=True)
class CatalogueSpec:
    """What all replicas of one engine should load, and the keys their gate accepts. `revision` is
    the one that the document asks for, `back` a person's decision for earlier adapters.
    """

    share: ShareRef
    service: str
    engine: str
    adapters: tuple[CatalogueAdapter, ...]
    keys: tuple[CatalogueKey, ...]
    limits: Limits = field(default_factory=Limits)
    cors: Cors | None = None
    log_prompts: bool = False
    gateway: GatewayInFront | None = None
    revision: str = ""
    back: AdapterReturn | None = None

    @property
    def environment(self) -> str:
        return self.share.environment

    @property
    def folder(self) -> str:
        return f"services/{self.service}/{self.engine}"


@dataclass(frozen=True)
class RouteSpec:
    """One service behind a gateway. `startup` are the predicted seconds of a cold start by stage.
    `fallbacks` answer for single adapters, `fallback` for the service and all other adapters;
    `shutdown_dates` are those of adapters.
    """

    service: str
    engine: str
    adapters: tuple[str, ...]
    keys: tuple[CatalogueKey, ...]
    limits: Limits
    min_replicas: int
    startup: Mapping[str, float]
    fallback: str | None = None
    fallbacks: tuple[tuple[str, str], ...] = ()
    shutdown_dates: tuple[tuple[str, str], ...] = ()

    @property
    def reports(self) -> str:
        """The folder of its replicas' reports on the share."""
        return f"services/{self.service}/{self.engine}/replicas"


@dataclass(frozen=True)
class GatewayRoutesSpec:
    """What the gateway of an Environment should follow. `app` is its container app, `ca` signs the
    endpoints where the system's own authorities do not; the routes of `kept` services stay as they
    are.
    """

    share: ShareRef
    app: str
    services: tuple[RouteSpec, ...]
    keys: tuple[CatalogueKey, ...]
    hold: HoldLimits = field(default_factory=HoldLimits)
    cors: Cors | None = None
    ca: str | None = None
    kept: tuple[str, ...] = ()
    entra: EntraPolicy | None = None

    @property
    def environment(self) -> str:
        return self.share.environment

    @property
    def folder(self) -> str:
        return gateway_folder(self.share.environment)


def gateway_folder(environment: str) -> str:
    """The folder of a gateway's routes, usage and responses on the share."""
    return f"gateway/{environment}"


@dataclass(frozen=True)
class RolloutStep:
    """A step of a rollout: the new revision has `weight` percent of the traffic for at least
    `pause` seconds (None: until a person promotes it) and until it has met its `evaluation`.
    """

    weight: int
    pause: int | None = 0
    evaluation: tuple[Expectation, ...] = ()


@dataclass(frozen=True)
class AppSecret:
    """A secret of a container app: the digest of its value, which only the daemon's memory holds,
    or its place in a Key Vault, where Azure reads it.
    """

    name: str
    digest: str = ""
    key_vault_url: str = ""
    identity: str = ""


@dataclass(frozen=True)
class ContainerAppSpec(ResourceSpec):
    """A container app. `template` is the revision's template; the revision's name ends in `suffix`,
    a hash of what makes it differ. The path of the serving runtime is left out of the hash, so that
    a newer serving package alone does not boot a GPU.
    """

    service: str = ""
    template: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""
    strategy: str = "Auto"
    key_names: tuple[str, ...] = ()
    secrets: tuple[AppSecret, ...] = ()
    share: ShareRef | None = None
    engine: str | None = None
    serves_model: bool = True
    startup_seconds: int = 0  # predicted, for a cold start
    deadline_seconds: int = 600  # for a new revision to be ready
    smoke: tuple[str, int | None] = ("/", None)  # path and expected status; None: below 500
    steps: tuple[RolloutStep, ...] = ()  # of a BlueGreen rollout
    evaluator: str = ""  # the API key with which steps are evaluated
    promoted: int = 0  # the weight up to which `moorage promote` lets the steps go on
    rotated: tuple[tuple[str, str], ...] = ()  # name and SHA-256 of keys that are to be replaced
    instead: str = ""  # the revision that a person wants to serve, by `moorage rollback`
    place: str = field(default="", compare=False)  # file:line of the document's spec, for messages

    @property
    def revision(self) -> str:
        return f"{self.name}--{self.suffix}"

    @property
    def scales_to_zero(self) -> bool:
        return not self.template["scale"].get("minReplicas")
