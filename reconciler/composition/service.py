"""What one InferenceService document expands to: published folders, the adapter catalogue and the
container app. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.api.adapter_fields import Adapter, Canary, seconds
from reconciler.api.adapters import Unfit
from reconciler.api.digest import Tree
from reconciler.api.documents import InferenceService
from reconciler.api.kinds import Kind
from reconciler.api.loaded import local_file, local_folder
from reconciler.api.mounts import CODE_PATH
from reconciler.api.policies import AdoptionPolicy
from reconciler.api.reasons import Reason
from reconciler.api.resources import (
    MOUNT_PATH,
    CatalogueAdapter,
    CatalogueCanary,
    CatalogueSpec,
    ContainerAppSpec,
    FolderSpec,
)
from reconciler.api.source import Missing, SourceRef
from reconciler.composition import access, download, gate, rollout, template
from reconciler.composition.engine_args import engine_args, start_variables
from reconciler.composition.environment import storage_key
from reconciler.composition.names import digest
from reconciler.composition.surroundings import SourceMissingError, Surroundings
from reconciler.composition.world import World
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy
from serving.catalogue import Expectation
from serving.preflight import SUPPORTED_VLLM

VLLM_IMAGE = f"docker.io/vllm/vllm-openai:v{SUPPORTED_VLLM[-1]}"
CODE_IMAGE = "docker.io/library/python:3.11-slim"
SHORT = 12


class ServiceComposer:
    """Expands one service; one instance per document."""

    def __init__(self, service: InferenceService, place: Surroundings, world: World) -> None:
        self.spec = service.spec
        self.model, self.code = service.spec.model, service.spec.code
        self.name = service.metadata.name
        self.place = place
        self.world = world
        self.document = DocumentRef("InferenceService", self.name)
        self.generation = world.generation(self.document)
        self.policy = Policy(service.spec.reconcile_policy.value)
        self.environment = place.names.environment
        self.folders: list[Desired] = []
        self.jobs: list[ObjectKey] = []
        self._digests: dict[str, str] = {}  # of published folders, by their path on the share

    def expand(self) -> list[Desired]:
        return (
            self._model_service(self.model.source)
            if self.model
            else self._code_service(str(self.code))
        )

    def _model_service(self, source: str) -> list[Desired]:
        runtime = self._publish(f"runtime/{self.world.runtime.digest[:SHORT]}", self.world.runtime)
        model, model_bytes = self._source("models", source)
        adapters = tuple(self._adapter(adapter) for adapter in self.spec.adapters)
        image, args = self._engine(model)
        # A replica reads the catalogue of its own engine only. The digest covers what cannot change
        # while vLLM runs; adapters can, so they are not in it.
        engine = digest(self.name, image, *args)[:SHORT]
        catalogue = self._catalogue(engine, adapters)
        ours = template.serving_variables(self.name, runtime, engine, self._grace())
        # The folder of all adapters, so that a new adapter needs no new revision.
        read = (runtime, model, f"services/{self.name}", *(["adapters"] if self._lora else ()))
        container = {
            "name": "vllm",
            "image": image,
            "command": ["python3", "-m", "serving.launch"],
            "args": args,
            "env": access.variables({**ours, **start_variables(self.spec.engine)}, self.spec),
            "resources": self._resources(model=True),
            "probes": template.model_probes(model_bytes),
            "volumeMounts": template.model_mounts(read, f"{catalogue.folder}/replicas"),
        }
        key = ObjectKey(Kind.CATALOGUE, self.name)
        refs = (*(folder.key for folder in self.folders), *self.jobs)
        app = self._app(container, template.PORT, engine, model_bytes, (*refs, key))
        published = Desired(
            key,
            self.document,
            replace(catalogue, revision=app.spec.revision),
            (self._env_key(Kind.SHARE), *refs),
            self.generation,
            self.policy,
            retain=True,
        )
        return [*self.folders, published, app]

    @property
    def _lora(self) -> Sequence[Adapter]:
        """The adapters that the engine has room for. Those that cannot be served count too, because
        their repair must not need another engine; but none of a model that takes no LoRA, since
        vLLM would not start.
        """
        return [
            adapter
            for adapter in self.spec.adapters
            if (unfit := self._unfit(adapter.source)) is None or unfit.takes_lora
        ]

    def _unfit(self, source: str) -> Unfit | None:
        return self.world.unfit.get((self.name, self._local(source)))

    def _engine_args(self) -> dict[str, Any]:
        """The arguments of vLLM that the document gives."""
        return dict(self.spec.engine.args) if self.spec.engine else {}

    def _engine(self, model: str) -> tuple[str, list[str]]:
        """The image and the arguments that start vLLM with room for the adapters and canaries."""
        spec = self.spec
        image = (spec.engine.image if spec.engine else None) or VLLM_IMAGE
        ranks = [self._rank(adapter.source) for adapter in self._lora]
        canaries = [self._rank(adapter.canary.source) for adapter in self._lora if adapter.canary]
        path = f"{MOUNT_PATH}/{model}"
        return image, engine_args(path, self.name, ranks, self._engine_args(), canaries)

    def _catalogue(self, engine: str, adapters: tuple[CatalogueAdapter, ...]) -> CatalogueSpec:
        spec = self.spec
        keys = (*spec.auth.api_keys, *self.place.gateway_keys)
        return CatalogueSpec(
            share=self.place.share,
            service=self.name,
            engine=engine,
            adapters=adapters,
            keys=tuple(gate.key(key) for key in spec.auth.api_keys),
            limits=gate.limits(spec.limits, self._engine_args()),
            cors=gate.cors(spec.ingress.cors_policy),
            log_prompts=spec.request_log.prompts,
            back=self.world.returns.get(self.name),
            gateway=gate.in_front(self.place.gateway, keys, spec.limits),
        )

    def _code_service(self, source: str) -> list[Desired]:
        spec = self.spec
        home = spec.mount_path or CODE_PATH
        wanted = {home: source, **{mount.mount_path: mount.source for mount in spec.mounts}}
        folders = {path: self._source("code", each, self.name)[0] for path, each in wanted.items()}
        port = spec.target_port or template.PORT
        container = {
            "name": "app",
            "image": (spec.engine.image if spec.engine else None) or CODE_IMAGE,
            "command": template.in_folder(home, spec.command or ()),
            "args": list(spec.args or []),
            "env": access.variables({}, spec),
            "resources": self._resources(model=False),
            "probes": template.port_probes(port, spec.progress_deadline_seconds),
            "volumeMounts": template.code_mounts(folders),
        }
        return [
            *self.folders,
            self._app(container, port, None, 0, tuple(folder.key for folder in self.folders)),
        ]

    def _app(
        self,
        container: dict[str, Any],
        port: int,
        engine: str | None,
        model_bytes: int,
        refs: tuple[ObjectKey, ...],
    ) -> Desired[ContainerAppSpec]:
        modes = ("read",) if engine is None else ("read", "write")
        app = self._app_spec(container, port, engine, model_bytes)
        return Desired(
            ObjectKey(Kind.APP, self.name),
            self.document,
            app,
            (
                self._env_key(Kind.ENVIRONMENT),
                *(storage_key(self.place.names, mode) for mode in modes),
                *refs,
            ),
            self.generation,
            self.policy,
            self.spec.deletion_policy.value == "Retain",
        )

    def _app_spec(
        self, container: dict[str, Any], port: int, engine: str | None, model_bytes: int
    ) -> ContainerAppSpec:
        spec, serves_model = self.spec, engine is not None
        revision = self._template(container, model_bytes, serves_model=serves_model)
        profile = self._profile()["name"]
        body = access.body(spec, self.place, profile, port)
        secrets = access.secrets_of(self.name, spec.secrets, self.world)
        read = access.read_by_revision(spec, secrets)
        app = ContainerAppSpec(
            name=self.name,
            resource_group=self.place.names.resource_group,
            environment=self.environment,
            body=body,
            asked=body,
            named=spec.adoption_policy is AdoptionPolicy.ADOPT_OR_CREATE,
            service=self.name,
            template=revision,
            suffix=template.suffix(revision, profile, *read),
            secrets=secrets,
            # Only BlueGreen splits the traffic, which steps need.
            strategy="BlueGreen" if spec.rollout.steps else spec.rollout.strategy.value,
            steps=rollout.steps(spec.rollout.steps, self._evaluation),
            evaluator=gate.evaluator(spec.auth.api_keys, self.name) if serves_model else "",
            key_names=self._keys() if serves_model else (),
            share=self.place.share,
            engine=engine,
            serves_model=serves_model,
            startup_seconds=template.startup_seconds(model_bytes) if serves_model else 0,
            deadline_seconds=(
                template.model_deadline(model_bytes)
                if serves_model
                else template.code_deadline(spec.progress_deadline_seconds)
            ),
            smoke=(spec.rollout.smoke.path, spec.rollout.smoke.expect_status),
            place=self.place.written,
        )
        return rollout.decided(app, self.world)

    def _template(
        self, container: dict[str, Any], model_bytes: int, *, serves_model: bool
    ) -> dict[str, Any]:
        """The template of a revision: any change of it makes another revision."""
        scale = self.spec.scale
        cooldown = template.cooldown(model_bytes) if serves_model else 300
        return {
            "containers": [container],
            "scale": template.scale(
                scale.min_replicas,
                scale.max_replicas,
                scale.concurrent_requests or 16,
                scale.cooldown_period or cooldown,
                scale.schedules,
            ),
            "volumes": template.volumes(self.place.names.storage, reports=serves_model),
            "terminationGracePeriodSeconds": self._grace(),
        }

    def _adapter(self, adapter: Adapter) -> CatalogueAdapter:
        evaluation = self._evaluation(adapter.evaluation)
        order, path, digest = self.world.orders.get((self.name, adapter.name)), "", ""
        faults = [unfit.why] if (unfit := self._unfit(adapter.source)) else []
        if not unfit:
            path, _ = self._source("adapters", adapter.source, adapter.name)
            digest = self._digests[path]
        canary = None
        if adapter.canary and (unfit := self._unfit(adapter.canary.source)):
            faults.append(unfit.why)
        elif adapter.canary:
            canary = self._canary(adapter.name, adapter.canary, evaluation)
        if canary and canary.digest == digest:
            canary = None  # other folders, the same bytes
        return CatalogueAdapter(
            adapter.name,
            digest,
            path,
            adapter.required,
            adapter.source,
            evaluation,
            canary,
            order,
            adapter.shutdown_date,
            "; ".join(dict.fromkeys(faults)),
        )

    def _canary(
        self, name: str, canary: Canary, evaluation: tuple[Expectation, ...]
    ) -> CatalogueCanary:
        path, _ = self._source("adapters", canary.source, name)
        after = seconds(canary.promote_after) if canary.promote_after else None
        own = self._evaluation(canary.evaluation) or evaluation
        return CatalogueCanary(
            self._digests[path],
            path,
            canary.source,
            canary.weight,
            canary.max_error_rate,
            after,
            own,
        )

    def _evaluation(self, file: str | None) -> tuple[Expectation, ...]:
        return self.world.evaluations.get(local_file(self.place.base_dir, file), ()) if file else ()

    def _rank(self, source: str) -> int:
        return self.world.ranks.get(self._local(source), 16)

    def _source(self, kind: str, source: str, name: str | None = None) -> tuple[str, int]:
        """The folder's path on the share and its size in bytes; a local folder becomes a published
        one.
        """
        if source.startswith("share://") and kind != "adapters":
            path = source.removeprefix("share://").strip("/")
            ref = self._ref(source)
            if kind == "models" and ref in self.world.missing and ref not in self.world.sizes:
                raise self._missing(ref)
            self._folder(path, digest(path), None)
            return path, template.counted(path, self.world.sizes.get(ref, 0))
        if source.startswith("hf://") and kind == "models":
            return self._hub_model(source)
        folder = self._local(source)
        tree = self._tree(folder)
        path = f"{kind}/{name or folder.name.lower()}/{tree.digest[:SHORT]}"
        path += f"-{tree.dtype}" if tree.dtype else ""
        return self._publish(path, tree), sum(file.size for file in tree.files.values())

    def _hub_model(self, source: str) -> tuple[str, int]:
        """A job of the Environment brings it; see download.py."""
        ref = self._ref(source)
        model = self.world.models.get(ref)
        if model is None:
            raise self._missing(ref)
        self.jobs.append(download.key_of(self.environment, source, model))
        return download.folder_of(source, model), model.size

    def _tree(self, folder: Path) -> Tree:
        """What is published of the folder: of an adapter, weights in the engine's float type."""
        found = self.world.converted.get((self.name, folder))
        if found is not None and found[0].on(self._profile()["workloadProfileType"]):
            return found[1]
        return self.world.trees[folder]

    def _publish(self, prefix: str, tree: Tree) -> str:
        return self._folder(prefix, tree.digest, tree)

    def _folder(self, prefix: str, folder_digest: str, tree: Tree | None) -> str:
        if prefix in self._digests:
            return prefix
        self._digests[prefix] = folder_digest
        spec = FolderSpec(self.place.share, prefix, folder_digest, tree)
        # Two services that share a folder have an object each, because each document has its own
        # policy and conditions.
        key = ObjectKey(Kind.FOLDER, f"{self.name}/{prefix}")
        share = (self._env_key(Kind.SHARE),)
        self.folders.append(
            Desired(key, self.document, spec, share, self.generation, self.policy, retain=True)
        )
        return prefix

    def _local(self, source: str) -> Path:
        """The local folder of the source.

        Raises:
            SourceMissingError: it comes from elsewhere and has not arrived.
        """
        if folder := local_folder(self.place.base_dir, source):
            return folder
        ref = self._ref(source)
        if ref not in self.world.fetched:
            raise self._missing(ref)
        return self.world.fetched[ref]

    def _ref(self, source: str) -> SourceRef:
        return SourceRef.of(self.environment, source, self.name)

    def _missing(self, ref: SourceRef) -> SourceMissingError:
        on_its_way = Missing(Reason.FETCHING, f"{ref} is being fetched", waits=True)
        return SourceMissingError(self.world.missing.get(ref, on_its_way))

    def _grace(self) -> int:
        return self.spec.termination_grace_period_seconds or 60

    def _keys(self) -> tuple[str, ...]:
        return tuple(key.name for key in self.spec.auth.api_keys)

    def _profile(self) -> Mapping[str, Any]:
        """The profile the document names; else, for a model, the first one with a GPU; else
        Consumption.
        """
        wanted = self.spec.workload_profile_name
        if wanted:
            return next(profile for profile in self.place.profiles if profile["name"] == wanted)
        gpus = [p for p in self.place.profiles if p["workloadProfileType"] in template.GPU_SIZES]
        return (
            gpus[0]
            if gpus and self.spec.model
            else {"name": "Consumption", "workloadProfileType": "Consumption"}
        )

    def _resources(self, *, model: bool) -> dict[str, Any]:
        asked = self.spec.resources.model_dump(exclude_none=True) if self.spec.resources else {}
        return template.resources(asked, self._profile()["workloadProfileType"], model=model)

    def _env_key(self, kind: Kind) -> ObjectKey:
        return ObjectKey(kind, self.environment)
