"""A model of a hub: the container-apps job that brings it onto the Environment's share, where
services find it. Pure.

The job belongs to the Environment, so that two services with one model share one download.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from reconciler.api.hub import TOKEN_SECRET, HubModel
from reconciler.api.kinds import Kind
from reconciler.api.resources import MOUNT_PATH, FolderSpec, JobSpec, ShareRef
from reconciler.api.source import SourceRef, parse_source
from reconciler.composition import template
from reconciler.composition.environment import MODES, storage_key
from reconciler.composition.names import Names, digest
from reconciler.composition.world import World
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy

IMAGE = "docker.io/library/python:3.11-slim"
FOLDER_PATH = "/mnt/moorage-model"
LONGEST = 24 * 3600  # seconds an execution may take
SHORT = 12
Spec = TypeVar("Spec")


def folder_of(source: str, model: HubModel) -> str:
    """The folder of a hub's model on the share: one for each commit."""
    return f"models/{parse_source(source).path.replace('/', '--').lower()}/{model.commit[:SHORT]}"


def key_of(environment: str, source: str, model: HubModel) -> ObjectKey:
    return ObjectKey(Kind.JOB, f"{environment}/{_name(source, model)}")


@dataclass(frozen=True)
class Downloads:
    """The jobs of one Environment."""

    names: Names
    share: ShareRef
    tags: Mapping[str, str]
    generation: int
    policy: Policy
    world: World

    def expand(self, sources: set[str]) -> list[Desired]:
        """A job for each source whose commit is known, and the runtime that has its program."""
        known = {
            source: model
            for source in sorted(sources)
            if (model := self.world.models.get(SourceRef(self.names.environment, source)))
        }
        if not known:
            return []
        runtime = self._runtime()
        return [runtime, *(self._job(source, model, runtime) for source, model in known.items())]

    def _runtime(self) -> Desired[FolderSpec]:
        tree = self.world.runtime
        spec = FolderSpec(self.share, f"runtime/{tree.digest[:SHORT]}", tree.digest, tree)
        key = ObjectKey(Kind.FOLDER, f"environments/{self.names.environment}/{spec.prefix}")
        return self._desired(key, spec, ObjectKey(Kind.SHARE, self.names.environment), retain=True)

    def _job(self, source: str, model: HubModel, runtime: Desired[FolderSpec]) -> Desired:
        folder, name = folder_of(source, model), _name(source, model)
        body = {
            "location": self.names.location,
            "tags": dict(self.tags),
            "properties": {
                "workloadProfileName": "Consumption",
                "configuration": {
                    "triggerType": "Manual",
                    "replicaTimeout": LONGEST,
                    "replicaRetryLimit": 0,  # the daemon decides about another try
                    "manualTriggerConfig": {"parallelism": 1, "replicaCompletionCount": 1},
                },
                "template": {
                    "containers": [self._container(source, model, folder, runtime.spec.prefix)],
                    "volumes": template.volumes(self.names.storage, reports=True),
                },
            },
        }
        spec = JobSpec(
            name=name,
            resource_group=self.names.resource_group,
            environment=self.names.environment,
            body=body,
            asked=body,
            share=self.share,
            folder=folder,
            source=source,
            size=model.size,
        )
        environment = self.names.environment
        storages = (storage_key(self.names, mode) for mode in MODES)
        refs = (ObjectKey(Kind.ENVIRONMENT, environment), *storages, runtime.key)
        return self._desired(key_of(environment, source, model), spec, *refs)

    def _container(self, source: str, model: HubModel, folder: str, runtime: str) -> dict[str, Any]:
        hub = self.world.hub
        variables = {
            "PYTHONPATH": f"{MOUNT_PATH}/{runtime}",
            "MOORAGE_REPOSITORY": parse_source(source).path,
            "MOORAGE_REVISION": model.commit,
            "MOORAGE_FOLDER": FOLDER_PATH,
            **({"HF_ENDPOINT": hub.endpoint} if hub.endpoint else {}),
        }
        env: list[dict[str, str]] = [
            {"name": name, "value": value} for name, value in variables.items()
        ]
        if hub.token:
            env.append({"name": "HF_TOKEN", "secretRef": TOKEN_SECRET})
        mounts = [
            {"volumeName": "share", "mountPath": MOUNT_PATH},
            {"volumeName": "reports", "mountPath": FOLDER_PATH, "subPath": folder},
        ]
        return {
            "name": "fetch",
            "image": IMAGE,
            "command": ["python3", "-m", "serving.fetch"],
            "env": env,
            "resources": {"cpu": 1, "memory": "2Gi"},
            "volumeMounts": mounts,
        }

    def _desired(
        self, key: ObjectKey, spec: Spec, *refs: ObjectKey, retain: bool = False
    ) -> Desired[Spec]:
        document = DocumentRef("Environment", self.names.environment)
        return Desired(key, document, spec, refs, self.generation, self.policy, retain)


def _name(source: str, model: HubModel) -> str:
    return f"fetch-{digest(parse_source(source).path.lower(), model.commit)[:SHORT]}"
