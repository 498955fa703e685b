"""The contract between the reconciler and a gateway: which services exist, which keys open them,
and what a gateway reports about itself.

The reconciler writes routes, a gateway writes its state and usage. Both sides import this module,
so it is pure: no I/O.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field

from serving.catalogue import (
    ApiKey,
    Contract,
    Cors,
    Limits,
    Seconds,
    Stage,
    Text,
    earlier_time,
    sealed,
    unsealed,
)

LONGEST = 16 << 20  # bytes of a file of routes
ROUTES_NAME = re.compile(r"^\d{9}\.json$")
ANSWERED_BY_HEADER = "x-moorage-answered-by"  # the service that answered


class RoutedModel(Contract):
    """A name that a request may ask for. `aliases` are further names, such as `service/adapter`;
    where two services have an adapter of one name, only the alias is routed. `fallback` stands in
    for the one of its service.
    """

    name: str
    kind: Literal["base", "adapter"] = "base"
    aliases: tuple[str, ...] = ()
    fallback: str | None = None
    shutdown_date: str | None = None


class StartPrediction(Contract):
    """How many seconds a start of a service takes, as far as the daemon knows, and by stage."""

    seconds: Seconds
    stages: dict[Stage, Seconds] = Field(default_factory=dict)


class StartFault(Contract):
    """Why a service cannot start; callers get this at once."""

    reason: Text
    message: Text


class RoutedService(Contract):
    """One service behind the gateway. `reports` is the folder of its replicas' reports, relative to
    the share's root. `fallback` is another service of the same routes, or `service/model`, that
    answers while this one cannot. `predicted` follows from the model's size, `learned` from the
    starts that the daemon has seen.
    """

    name: str
    endpoint: str
    models: tuple[RoutedModel, ...]
    reports: str = ""
    keys: tuple[ApiKey, ...] = ()
    limits: Limits = Limits()
    min_replicas: int = Field(default=0, ge=0)
    predicted: StartPrediction = StartPrediction(seconds=300)
    learned: StartPrediction | None = None
    stopped: StartFault | None = None
    fallback: str | None = None


class HoldLimits(Contract):
    """How long a request that is not streamed waits for a service that starts, and how many wait
    for one service at most.
    """

    seconds: Annotated[float, Field(gt=0, le=235)] = 220
    max_requests: int = Field(default=100, ge=1, le=10_000)


class EntraGrant(Contract):
    """An app role, or the object id of a group or of one person or application, who may call: with
    its own limits, and with all models where `models` is None.
    """

    value: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel_requests: int | None = None


class EntraPolicy(Contract):
    """Which tokens are accepted as keys. If `allow` is empty, every holder of a token for the
    audience may call.
    """

    tenant: str
    audience: str
    issuer: str
    jwks_url: str
    allow: tuple[EntraGrant, ...] = ()


class GatewayRoutes(Contract):
    """What a gateway follows. Immutable: a change is a new file with a higher generation, and the
    highest valid file of the folder wins.

    `ca` is a certificate authority in PEM for endpoints that the system's own do not sign; `keys`
    are the Environment's, which open every service.
    """

    version: Literal[1] = 1
    environment: str
    generation: int = Field(ge=1, le=999_999_999)
    services: tuple[RoutedService, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    limits: Limits = Limits()
    hold: HoldLimits = HoldLimits()
    entra: EntraPolicy | None = None
    cors: Cors | None = None
    ca: str | None = None

    @property
    def file_name(self) -> str:
        return f"{self.generation:09d}.json"

    def dump(self) -> bytes:
        """The file's bytes, with their own SHA-256 as a catalogue's."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return sealed("routes", body)

    @classmethod
    def load(cls, data: bytes) -> Self | None:
        """The routes in `data`, or None when the bytes are torn, foreign or do not match their own
        hash.
        """
        try:
            return cls.model_validate(unsealed("routes", data, LONGEST))
        except ValueError:
            return None


class RoutedState(Contract):
    """One service as a gateway has it. `held` requests wait for it; `predicted_seconds` is what a
    start takes, as learned, or what is left of the start under way.
    """

    name: str
    state: Literal["asleep", "starting", "ready", "failed"]
    started_at: AwareDatetime | None = None
    predicted_seconds: Seconds | None = None
    held: int = Field(default=0, ge=0)
    stage: Stage | None = None
    message: Text = ""


class StartSeen(Contract):
    """How long one start took, what callers were told of it beforehand, what the routes predicted,
    and what its stages took, as far as that was seen.
    """

    seconds: Seconds
    told: Seconds
    published: Seconds
    stages: dict[Stage, Seconds] = Field(default_factory=dict)


class LearnedStart(Contract):
    """The newest starts of a service, newest last."""

    name: str
    starts: tuple[StartSeen, ...] = ()


class GatewayState(Contract):
    """`state.json` of one replica of a gateway: written by that replica alone, every few
    seconds.
    """

    replica: str
    heartbeat: AwareDatetime
    generation: int | None = None
    services: tuple[RoutedState, ...] = ()
    learned: tuple[LearnedStart, ...] = ()


def in_time_of_reader(state: GatewayState, ahead: timedelta) -> GatewayState:
    """The state with all its times moved, from a clock that is `ahead` of its reader's to that."""
    services = tuple(
        one.model_copy(update={"started_at": earlier_time(one.started_at, ahead, state.heartbeat)})
        for one in state.services
    )
    return state.model_copy(update={"heartbeat": state.heartbeat - ahead, "services": services})


class UsageLine(Contract):
    """One line of a usage file: what a key has used of a model since the line before. Lines are
    added up, never replaced.
    """

    day: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    key: str
    model: str
    requests: int = Field(default=0, ge=0)
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    wakeups: int = Field(default=0, ge=0)
    held_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
