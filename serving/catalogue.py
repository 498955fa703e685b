"""The contract between the reconciler and a replica: what should be loaded, under which alias, and
what is.

The reconciler writes catalogues, replicas write reports; both sides import this module, so it is
pure: no I/O.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from serving.untrusted import parse

# bytes of adapters on a replica's disk of 8 GiB, which also holds compiled kernels
DISK = 6 << 30
LONGEST = 16 << 20  # bytes of a catalogue
SAID = 4096  # characters of a message in a replica's report
GATEWAY_KEY = "gateway"  # the name of the key of a service that its gateway uses
# Headers that a gateway adds to the requests that it passes on; only its key may send them.
KEY_NAME_HEADER, EVALUATION_HEADER = "x-moorage-key-name", "x-moorage-key-evaluation"
KEY_LIMITS_HEADER = "x-moorage-key-limits"
# The stages of a start, in their order, with their texts for people.
Stage = Literal["assigned", "image", "runtime", "weights", "compile", "adapters", "first_token"]
STAGES: tuple[Stage, ...] = get_args(Stage)
STAGE_WORDS: dict[Stage, str] = {
    "assigned": "waiting for a machine",
    "image": "fetching the image",
    "runtime": "starting vLLM",
    "weights": "reading weights",
    "compile": "compiling",
    "adapters": "loading adapters",
    "first_token": "making the first token",
}
FILE_NAME = re.compile(r"^(?P<epoch>\d{6})-(?P<generation>\d{9})\.json$")


def _cut(value: Any) -> Any:
    return value[:SAID] if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_cut)]  # long errors are cut, on both sides
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class Contract(BaseModel):
    """Camel case on the share, snake case in code. Unknown keys are left out, so that both sides
    hash the same text.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )


class AdapterVersion(Contract):
    """One immutable published version: `path` is relative to the share's root."""

    digest: str
    path: str


class Expectation(Contract):
    """A prompt and a text that the answer, made at temperature 0, must contain. Case, and how many
    spaces or line breaks stand between words, do not count.
    """

    prompt: str
    expect: str
    max_tokens: int = 32

    def is_met_by(self, answer: str) -> bool:
        return " ".join(self.expect.split()).casefold() in " ".join(answer.split()).casefold()


class Canary(Contract):
    """A version that answers `weight` of a hundred calls of an adapter's name, once it has met its
    `evaluation`.
    """

    version: AdapterVersion
    weight: int = Field(ge=0, le=100)
    evaluation: tuple[Expectation, ...] = ()


class Held(Contract):
    """A decision against the document. It holds while the document asks for `asked`, a digest of
    what it says about the adapter.
    """

    asked: str
    outcome: Literal["Promoted", "RolledBack"]
    message: str
    at: AwareDatetime


class Adapter(Contract):
    """A public name and the version it should answer with; `last_good` serves while `desired`
    cannot be loaded. A new replica is not ready without a `required` one that has a `last_good`,
    which may be the desired one itself.

    `shutdown_date` is what `/v1/models` says about it; nothing happens on that day. `evaluation` is
    what a version must pass before it answers under the name.
    """

    name: str
    desired: AdapterVersion
    last_good: AdapterVersion | None = None
    required: bool = False
    evaluation: tuple[Expectation, ...] = ()
    canary: Canary | None = None
    held: Held | None = None
    shutdown_date: str | None = None


class KeyLimits(Contract):
    """Limits for a key's requests, which replace those of the service."""

    prompt_tokens: int | None = None
    output_tokens: int | None = None
    sequences: int | None = None

    def header(self) -> str:
        """The limits as a gateway tells them."""
        own = (self.prompt_tokens, self.output_tokens, self.sequences)
        return ",".join("" if one is None else str(one) for one in own)

    @classmethod
    def of_header(cls, text: str) -> Self | None:
        """What `header` made; None of anything else."""
        if re.fullmatch(r"[0-9]{0,9}(,[0-9]{0,9}){2}", text) is None:
            return None
        prompt, output, sequences = (int(one) if one else None for one in text.split(","))
        return cls(prompt_tokens=prompt, output_tokens=output, sequences=sequences)


class ApiKey(Contract):
    """A key's name and the SHA-256 (hex) of its text; the text itself never reaches the share.

    `models` are all it may use when given; an `evaluation` key opens the tokenizer and
    log-probabilities of prompts; an `admin` key opens metrics and state, and no model.
    """

    name: str
    sha256: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parallel_requests: int | None = None
    limits: KeyLimits | None = None
    evaluation: bool = False
    admin: bool = False


class Limits(Contract):
    """The limits of a replica, for one request and for all of them together.

    Bytes of the body, of schemas and of media; `schema_parts` are values of what is compiled;
    `sequences` are choices times prompts; `opened` are fields of a request that vLLM's flags let
    clients use. The model's own limit where `prompt_tokens` is None.
    """

    body: int = 16 << 20
    prompt_tokens: int | None = None
    output_tokens: int = 32_768
    sequences: int = 64
    messages: int = 2_048
    tools: int = 128
    schema_bytes: int = 64 << 10
    schema_parts: int = 2_000
    media_bytes: int = 8 << 20
    media_domains: tuple[str, ...] = ()
    parallel_requests: int = 256
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    opened: tuple[str, ...] = ()


class Cors(Contract):
    """Which web pages may use the service from a browser; the fields of Container Apps'
    corsPolicy.
    """

    allowed_origins: tuple[str, ...]
    allowed_methods: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ("*",)
    expose_headers: tuple[str, ...] = ()
    max_age: int | None = None
    allow_credentials: bool = False


class Catalogue(Contract):
    """What every replica of one engine should load. Immutable: a change is a new file with a higher
    generation.
    """

    service: str
    engine: str
    epoch: int = Field(ge=0, le=999_999)
    generation: int = Field(ge=1, le=999_999_999)
    adapters: tuple[Adapter, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()
    limits: Limits = Limits()
    cors: Cors | None = None
    log_prompts: bool = False

    @property
    def file_name(self) -> str:
        return f"{self.epoch:06d}-{self.generation:09d}.json"

    def dump(self) -> bytes:
        """The file's bytes: the body and its own SHA-256, so that a torn or stale read is never
        taken for a catalogue.
        """
        # Fields at their default are left out, so that a replica with an older runtime accepts a
        # catalogue that uses no newer field.
        return sealed(
            "catalogue", self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        )

    @classmethod
    def load(cls, data: bytes) -> Self | None:
        """The catalogue in `data`, or None when the bytes are torn, foreign or do not match their
        own hash.
        """
        try:
            return cls.model_validate(unsealed("catalogue", data, LONGEST))
        except ValueError:
            return None


class AdapterReason(StrEnum):
    """Why an adapter is in its state on a replica, as a report says it. Replicas with another
    runtime may have other reasons.
    """

    PROVEN = "Proven"
    SAME_AS_BASE = "SameAsBase"
    NOT_FINITE = "NotFinite"  # answers that are no numbers
    UNPROVEN = "Unproven"  # could not be measured
    NAME_TAKEN = "NameTaken"
    NO_CAPACITY = "NoCapacity"
    PREFLIGHT_FAILED = "PreflightFailed"
    LOAD_FAILED = "LoadFailed"
    EVALUATION_FAILED = "EvaluationFailed"
    EVALUATION_BROKEN = "EvaluationBroken"
    BAD_NAME = "BadName"
    BAD_PATH = "BadPath"
    CORRUPT = "Corrupt"
    NO_SPACE = "NoSpace"
    NOT_PUBLISHED = "NotPublished"
    UNREADABLE = "Unreadable"


class FirstTokens(Contract):
    """Seconds until the first token of the newest answers, `count` of them."""

    count: int = Field(ge=1)
    median: Seconds
    p95: Seconds


class TrafficReport(Contract):
    """What a replica has answered since its server started, for all models together. Requests that
    vLLM refused before it chose a model are left out. `errors` are the server's, not the client's.
    """

    requests: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    first_tokens: FirstTokens | None = None


class CanaryReport(Contract):
    """A canary as one replica has it. `errors` of the `requests` since it was loaded are the
    server's, never the client's.
    """

    digest: str
    state: Literal["Loaded", "Loading", "Failed"]
    reason: Text = ""
    message: Text = ""
    loaded_at: AwareDatetime | None = None
    requests: int = 0
    errors: int = 0
    first_tokens: FirstTokens | None = None


class AdapterReport(Contract):
    """One adapter as one replica has it: the digest that answers now and, when that is not the
    desired one, why.
    """

    name: str
    digest: str | None
    desired: str
    state: Literal["Loaded", "Loading", "Failed"]
    reason: Text = ""
    message: Text = ""
    loaded_at: AwareDatetime | None = None
    requests: int = 0
    errors: int = 0
    first_tokens: FirstTokens | None = None
    canary: CanaryReport | None = None


class ReplicaReport(Contract):
    """A replica's report on itself, which it writes every few seconds to `<replica>.json`.

    `ready_at` is when it was ready for the first time, `None` before. `stage` is where its start
    is, `None` once it was ready; `stages` are the seconds that those before took. The reader sets
    `unreadable` when a report cannot be read; it says why, and the other fields are empty.
    """

    replica: str
    revision: str
    pid: int
    started_at: AwareDatetime
    heartbeat: AwareDatetime
    generation: int | None
    epoch: int | None = None
    model_loaded: bool
    ready: bool
    ready_at: AwareDatetime | None = None
    stage: Stage | None = None
    stages: dict[Stage, Seconds] = Field(default_factory=dict)
    adapters: tuple[AdapterReport, ...] = ()
    traffic: TrafficReport | None = None
    api_keys: tuple[str, ...] = ()
    message: Text = ""
    unreadable: Text = ""


def earlier(report: ReplicaReport, by: timedelta) -> ReplicaReport:
    """The report with all its times moved, from a clock that is ahead of its reader's to that."""

    def moved(value: datetime | None) -> datetime | None:
        return earlier_time(value, by, report.heartbeat)

    def adapter(one: AdapterReport) -> AdapterReport:
        canary = one.canary
        if canary is not None:
            canary = canary.model_copy(update={"loaded_at": moved(canary.loaded_at)})
        return one.model_copy(update={"loaded_at": moved(one.loaded_at), "canary": canary})

    times = ("started_at", "heartbeat", "ready_at")
    changed = {name: moved(getattr(report, name)) for name in times}
    return report.model_copy(update={**changed, "adapters": tuple(map(adapter, report.adapters))})


def earlier_time(value: datetime | None, by: timedelta, heartbeat: datetime) -> datetime | None:
    """`value` less `by`; a time that no calendar has becomes that of the heartbeat."""
    try:
        return None if value is None else value - by
    except OverflowError:
        return heartbeat - by


def sealed(kind: str, body: object) -> bytes:
    """A file's bytes: the body under its kind, beside its own SHA-256."""
    return json.dumps({"sha256": _digest(body), kind: body}, indent=1).encode()


def unsealed(kind: str, data: bytes, most: int) -> Any:
    """The body that `sealed` wrote.

    Raises:
        ValueError: the bytes are torn, foreign, too many, or do not match their own hash.
    """
    outer = parse(data, most)
    if not isinstance(outer, dict) or kind not in outer:
        raise ValueError(f"it is no {kind} file")
    if outer.get("sha256") != _digest(outer[kind]):
        raise ValueError("it does not match its own hash")
    return outer[kind]


def _digest(body: object) -> str:
    return hashlib.sha256(
        json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
