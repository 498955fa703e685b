"""The `InferenceService` document: a model with adapters behind vLLM, or the user's own web API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from reconciler.api import names
from reconciler.api.adapter_fields import Adapter
from reconciler.api.amounts import Memory
from reconciler.api.auth_fields import Auth, Limits, RequestLog
from reconciler.api.engine_flags import EngineArgs
from reconciler.api.environment_variables import Variables, model_variable_faults
from reconciler.api.fields import Fault, Int, Items, Model, bounded, refuse_any, unique
from reconciler.api.identity_fields import ManagedIdentity
from reconciler.api.ingress_fields import Ingress
from reconciler.api.mounts import CODE_PATH, Mount, MountPath, mount_faults
from reconciler.api.openings import opening_faults
from reconciler.api.policies import AdoptionPolicy, DeletionPolicy, ReconcilePolicy
from reconciler.api.rollout_fields import Rollout
from reconciler.api.schedule_fields import Schedule
from reconciler.api.secret_fields import Registries, Secrets, reference_faults
from reconciler.api.source import CodeText, SourceText
from reconciler.api.vllm_versions import flag_faults, image_faults


class BaseModelSource(Model):
    source: SourceText
    """./folder, share://path or hf://org/name@revision."""


class Engine(Model):
    image: (
        Annotated[
            str,
            bounded(
                lambda value: (
                    re.fullmatch(r"[a-z0-9][^\s@]*(@sha256:[0-9a-f]{64})?", value) is not None
                    and not value.endswith((":", "/"))
                ),
                "{!r} is no image reference",
                "write it as registry/repository:tag, or registry/repository:tag@sha256:digest",
            ),
        ]
        | None
    ) = None
    """The container image; when left out, the image that this release pins. A digest beside the tag
    (repository:tag@sha256:...) fixes its bytes; the tag still tells the vLLM version."""
    args: EngineArgs = Field(default_factory=dict)
    """vLLM's own flags without the leading --, such as max-model-len: 4096."""
    allow: Items[str] = ()
    """Names of flags in `args` that Moorage otherwise refuses because they open something, such as
    trust-remote-code.
    """
    readers: Annotated[int, Field(ge=0, le=64, strict=True)] | None = None
    """How many readers fetch the weights from the share while vLLM starts; 8 when left out, 0 for
    none. A model on a replica's own disk is read ahead only if this field is set.
    """
    compile_cache: Annotated[bool, Field(strict=True)] = True
    """Keep on the share what vLLM compiles, for the next start of the same engine on the same
    hardware.
    """


class Resources(Model):
    cpu: Annotated[float, Field(gt=0, le=96, strict=True)] | None = None
    """CPU cores of one replica."""
    memory: Memory | None = None
    """Memory of one replica, such as 8Gi."""


class Scale(Model):
    min_replicas: Annotated[Int, Field(ge=0, le=1000)] = 0
    """Replicas that always run; with 0 a service without requests costs nothing."""
    max_replicas: Annotated[Int, Field(ge=1, le=1000)] = 1
    """The highest number of replicas; each needs a GPU of the workload profile."""
    concurrent_requests: Annotated[Int, Field(ge=1, le=100_000)] | None = None
    """Requests at a time per replica before Azure starts another replica."""
    cooldown_period: Annotated[Int, Field(ge=1, le=604_800)] | None = None
    """Seconds without requests before the last replica stops; when left out, long enough to load
    the model.
    """
    schedules: Items[Schedule] = ()
    """Times at which replicas run without being asked, such as before a working day begins."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        refuse_any(
            Fault(
                f"minReplicas is {schedule.min_replicas}, more than maxReplicas"
                f" {self.max_replicas} of the service",
                f"write {self.max_replicas} or less, or a larger maxReplicas",
                ("schedules", index, "minReplicas"),
            )
            for index, schedule in enumerate(self.schedules)
            if schedule.min_replicas > self.max_replicas
        )
        if self.max_replicas < self.min_replicas:
            at = "maxReplicas" if "max_replicas" in self.model_fields_set else "minReplicas"
            least, most = self.min_replicas, self.max_replicas
            fault = Fault(
                f"maxReplicas is {most}, less than minReplicas {least}",
                f"set maxReplicas to {least} or more",
                (at,),
            )
            refuse_any([fault])
        return self


class InferenceServiceSpec(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["model"]}, {"required": ["code", "command", "targetPort"]}]
        }
    )

    environment: names.EnvironmentName = "default"
    """The Environment document this service runs in; `default` needs none."""
    model: BaseModelSource | None = None
    """The base model, which answers under the service's name."""
    adapters: Annotated[
        Items[Adapter],
        unique(
            "name", "adapter", "clients choose by name: give it another one", ignoring_case=True
        ),
    ] = ()
    """LoRA adapters of the base model."""
    code: CodeText | None = None
    """In place of `model`: the folder of your own web API."""
    command: Annotated[Items[str], Field(min_length=1)] | None = None
    """With `code`: the command that runs in this folder."""
    args: Items[str] = ()
    """With `code`: arguments of `command`."""
    target_port: Annotated[Int, Field(ge=1, le=65_535)] | None = None
    """With `code`: the port that the command listens on."""
    mount_path: MountPath | None = None
    """With `code`: the path of its folder in the container, in which `command` runs; `/app` when
    left out.
    """
    mounts: Items[Mount] = ()
    """With `code`: further folders, each mounted read-only."""
    progress_deadline_seconds: Annotated[Int, Field(ge=10, le=57_600)] | None = None
    """With `code`: seconds in which the command must begin to listen, or its revision is rolled
    back; 240 when left out.
    """
    engine: Engine = Engine()
    """The container image and, with `model`, vLLM's flags."""
    env: Variables = ()
    """Environment variables of the container."""
    secrets: Secrets = ()
    """Secrets of the container app; the document says where their values are, and never the
    values.
    """
    identity: ManagedIdentity | None = None
    """The managed identities of the container app; left as they are when left out."""
    registries: Registries | None = None
    """How Azure signs in at private registries; left as they are when left out, `[]` removes
    them.
    """
    resources: Resources | None = None
    """CPU and memory of a replica; when left out, all that the workload profile offers."""
    workload_profile_name: Annotated[str, names.WORKLOAD_PROFILE] | None = None
    """One of the environment's workload profiles."""
    scale: Scale = Scale()
    """How many replicas."""
    rollout: Rollout = Rollout()
    """How a new revision takes over."""
    ingress: Ingress = Ingress()
    """Who can reach the endpoint."""
    auth: Auth = Auth()
    """With `model`: who may use it."""
    limits: Limits = Limits()
    """With `model`: limits of one request, and of all requests together."""
    request_log: RequestLog = RequestLog()
    """With `model`: what a replica logs about each request."""
    reconcile_policy: ReconcilePolicy = ReconcilePolicy.MANAGE
    """Manage writes to Azure; Observe only reports differences; Skip does not read Azure either."""
    adoption_policy: AdoptionPolicy = AdoptionPolicy.CREATE
    """If somebody else made a container app with this name, Create does not touch it. AdoptOrCreate
    adopts it, and releases it when this document is removed.
    """
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    """What happens to the container app when this document is removed; an adopted container app is
    never deleted.
    """
    termination_grace_period_seconds: Annotated[Int, Field(ge=1, le=600)] | None = None
    """Seconds a replica has to finish its requests before it is killed."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.model) == bool(self.code):
            refuse_any(self._neither_or_both())
        refuse_any(self._model_faults() if self.model else self._code_faults())
        refuse_any(reference_faults(self.env, self.secrets, self.registries or (), self.identity))
        return self

    def _neither_or_both(self) -> Iterator[Fault]:
        if self.model and self.code:
            yield Fault(
                "a service serves either a model or code, not both",
                "split it into two services",
                ("code",),
                key=True,
            )
        else:
            yield Fault(
                "the service has neither model nor code",
                "write model: {source: ./folder}, or code: ./folder with command and targetPort",
            )

    def _model_faults(self) -> Iterator[Fault]:
        given = self.model_fields_set
        for field, hint in (
            ("command", "leave it out: Moorage starts vLLM"),
            ("args", "write vLLM's flags under engine.args"),
            ("target_port", "leave it out: vLLM listens on 8000"),
            ("mount_path", "leave it out: Moorage mounts what vLLM reads"),
            ("mounts", "leave it out: Moorage mounts what vLLM reads"),
            ("progress_deadline_seconds", "leave it out: it follows from the model's size"),
        ):
            if field in given:
                key = to_camel(field)
                yield Fault(f"{key} belongs to a service with code", hint, (key,), key=True)
        yield from model_variable_faults(self.env)
        yield from self._capacity()
        yield from image_faults(self.engine.image)
        yield from flag_faults(self.engine.image, self.engine.args)
        yield from opening_faults(self.engine.args, self.engine.allow)

    def _code_faults(self) -> Iterator[Fault]:
        for field, key in (("command", "command"), ("target_port", "targetPort")):
            if getattr(self, field) is None:
                yield Fault(
                    f"code needs {key}",
                    "write command: [python3, app.py] and targetPort: 8080, for example",
                    ("code",),
                )
        yield from self._needs_vllm()
        yield from mount_faults(self.mount_path or CODE_PATH, self.mounts)

    def _needs_vllm(self) -> Iterator[Fault]:
        """Fields of a service with code that mean something to vLLM or to the gate before it."""
        gate = "Moorage's gate stands in front of vLLM only"
        for field, why in (
            ("adapters", "they are vLLM's"),
            ("auth", gate),
            ("limits", gate),
            ("request_log", gate),
        ):
            if field in self.model_fields_set:
                key = to_camel(field)
                text = f"{key} cannot be used with code: {why}"
                yield Fault(text, "leave it out", (key,), key=True)
        if self.ingress.cors_policy is not None:
            text = f"corsPolicy cannot be used with code: {gate}"
            yield Fault(text, "answer preflights in code", ("ingress", "corsPolicy"), key=True)
        if self.engine.args:
            text = "engine.args are vLLM's flags and there is no vLLM"
            yield Fault(text, "write args", ("engine", "args"), key=True)
        for field in sorted({"readers", "compile_cache"} & self.engine.model_fields_set):
            key = to_camel(field)
            text = f"engine.{key} is about vLLM's start and there is no vLLM"
            yield Fault(text, "leave it out", ("engine", key), key=True)

    def _capacity(self) -> Iterator[Fault]:
        most, there = (
            self.engine.args.get("max-cpu-loras"),
            len(self.adapters) + sum(1 for a in self.adapters if a.canary),
        )
        if most is not None and self.adapters and most <= there:
            # One more than there are: a changed adapter is loaded beside the one it replaces, and
            # vLLM ends when it must re-read one that it has dropped.
            yield Fault(
                f"max-cpu-loras {most} leaves no room to replace one of {there} adapters",
                f"write {there + 1} or more",
                ("engine", "args", "max-cpu-loras"),
            )
