"""What the gateway of an Environment expands to: its runtime on the share, its routes and its
container app. Pure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.api.digest import Tree
from reconciler.api.documents import Environment
from reconciler.api.gateway_fields import Gateway, gateway_name
from reconciler.api.kinds import Kind
from reconciler.api.resources import (
    MOUNT_PATH,
    CatalogueSpec,
    ContainerAppSpec,
    FolderSpec,
    GatewayRoutesSpec,
    RouteSpec,
    gateway_folder,
)
from reconciler.composition import gate, template
from reconciler.composition.environment import MODES, share_of, storage_key
from reconciler.composition.names import Names, digest
from reconciler.composition.world import World
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Policy, with_spec
from serving.catalogue import GATEWAY_KEY
from serving.gateway.routes import HoldLimits

# The runtime's compiled modules are those of the daemon's own Python.
IMAGE = f"docker.io/library/python:{sys.version_info.major}.{sys.version_info.minor}-slim"
PORT = 8000
DATA_PATH = "/mnt/moorage-gateway"
SHORT = 12
GRACE = 60  # seconds to answer a request, in addition to the time that it may be held


def app_of(environment: Environment) -> str:
    """The name of the gateway's container app; empty for an Environment without a gateway."""
    gateway = environment.spec.gateway
    return gateway_name(environment.metadata.name, gateway) if gateway else ""


class GatewayComposer:
    """Expands one gateway. `behind` are the objects of the Environment's services. `kept` are the
    services whose documents are refused now; their routes stay as they are.
    """

    def __init__(
        self,
        environment: Environment,
        names: Names,
        tags: Mapping[str, str],
        behind: Sequence[Desired],
        kept: Sequence[str],
        world: World,
    ) -> None:
        self.spec, self.name = environment.spec, app_of(environment)
        self.names, self.share, self.tags = names, share_of(names), tags
        self.behind, self.kept, self.world = behind, tuple(kept), world
        self.origin: dict[str, Any] = {
            "document": DocumentRef("Environment", names.environment),
            "generation": world.generation(DocumentRef("Environment", names.environment)),
            "policy": Policy(environment.spec.reconcile_policy.value),
        }

    def expand(self) -> list[Desired]:
        gateway, tree = self.spec.gateway, self.world.gateway
        if gateway is None or not isinstance(tree, Tree):
            return []
        path = f"runtime/{tree.digest[:SHORT]}"
        runtime = Desired(
            ObjectKey(Kind.FOLDER, f"{self.name}/{path}"),
            spec=FolderSpec(self.share, path, tree.digest, tree),
            refs=(self._env_key(Kind.SHARE),),
            retain=True,
            **self.origin,
        )
        routes = Desired(
            self._env_key(Kind.ROUTES),
            spec=self._routes(gateway),
            refs=(self._env_key(Kind.SHARE),),
            retain=True,
            **self.origin,
        )
        app = Desired(
            ObjectKey(Kind.APP, self.name),
            spec=self._app(gateway, path),
            refs=(
                self._env_key(Kind.ENVIRONMENT),
                *(storage_key(self.names, mode) for mode in MODES),
                runtime.key,
                routes.key,
            ),
            retain=self.spec.deletion_policy.value == "Retain",
            **self.origin,
        )
        return [runtime, routes, app]

    def _routes(self, gateway: Gateway) -> GatewayRoutesSpec:
        return GatewayRoutesSpec(
            share=self.share,
            app=self.name,
            services=tuple(self._services(gateway)),
            keys=tuple(gate.key(key) for key in gateway.api_keys),
            hold=HoldLimits(seconds=gateway.hold.seconds, max_requests=gateway.hold.max_requests),
            cors=gate.cors(gateway.cors_policy),
            ca=self.world.ca,
            kept=self.kept,
            entra=gate.entra(gateway.entra, self.world.tenant, self.world.authority),
        )

    def _services(self, gateway: Gateway) -> Iterator[RouteSpec]:
        apps = {item.key.name: item.spec for item in with_spec(self.behind, ContainerAppSpec)}
        for item in with_spec(self.behind, CatalogueSpec):
            catalogue, app = item.spec, apps[item.key.name]
            yield RouteSpec(
                service=catalogue.service,
                engine=catalogue.engine,
                adapters=tuple(adapter.name for adapter in catalogue.adapters),
                keys=catalogue.keys,
                limits=catalogue.limits,
                min_replicas=int(app.template["scale"]["minReplicas"]),
                startup=template.startup_stages(app.startup_seconds),
                fallback=gateway.fallback.get(catalogue.service),
                fallbacks=tuple(
                    (adapter.name, other)
                    for adapter in catalogue.adapters
                    if (other := gateway.fallback.get(f"{catalogue.service}/{adapter.name}"))
                ),
                shutdown_dates=tuple(
                    (adapter.name, adapter.shutdown_date)
                    for adapter in catalogue.adapters
                    if adapter.shutdown_date
                ),
            )

    def _app(self, gateway: Gateway, runtime: str) -> ContainerAppSpec:
        grace = gateway.hold.seconds + GRACE
        body_template = {
            "containers": [self._container(gateway, runtime, grace)],
            # A fixed number of replicas, because each enforces its share of the limits of keys.
            "scale": template.scale(gateway.min_replicas, gateway.min_replicas, 1000, 300),
            "volumes": template.volumes(self.names.storage, reports=True),
            # Then Azure kills the container; the gateway's own limit must be shorter.
            "terminationGracePeriodSeconds": grace + 15,
        }
        ingress = {
            "external": gateway.external,
            "targetPort": PORT,
            "transport": "Auto",
            "allowInsecure": False,
        }
        body = {
            "location": self.names.location,
            "tags": {**self.spec.tags, **self.tags},
            "properties": {
                "workloadProfileName": "Consumption",
                "configuration": {"activeRevisionsMode": "Multiple", "ingress": ingress},
            },
        }
        return ContainerAppSpec(
            name=self.name,
            resource_group=self.names.resource_group,
            environment=self.names.environment,
            body=body,
            asked=body,
            service=self.name,
            template=body_template,
            suffix="r" + digest(json.dumps(body_template, sort_keys=True))[:9],
            strategy="Surge",
            key_names=(GATEWAY_KEY, *(key.name for key in gateway.api_keys)),
            share=self.share,
            serves_model=False,
            deadline_seconds=template.code_deadline(None),
            smoke=("/live", 200),
            rotated=self.world.rotations.get(self.name, ()),
        )

    def _container(self, gateway: Gateway, runtime: str, grace: int) -> dict[str, Any]:
        folder = gateway_folder(self.names.environment)
        options = {
            "share": MOUNT_PATH,
            "environment": self.names.environment,
            "data": DATA_PATH,
            "port": str(PORT),
            "grace": str(grace),
        }
        return {
            "name": "gateway",
            "image": IMAGE,
            "command": ["python3", "-m", "serving.gateway"],
            "args": [word for name, value in options.items() for word in (f"--{name}", value)],
            "env": [
                {"name": "PYTHONPATH", "value": f"{MOUNT_PATH}/{runtime}"},
                {"name": "MOORAGE_GATEWAY_KEY", "secretRef": f"api-key-{GATEWAY_KEY}"},
            ],
            "resources": gateway.size,
            "probes": template.gateway_probes(PORT),
            "volumeMounts": [
                # All services' reports, so that a new service needs no new revision.
                *template.read_mounts((runtime, f"{folder}/routes", "services")),
                {"volumeName": "reports", "mountPath": DATA_PATH, "subPath": f"{folder}/data"},
            ],
        }

    def _env_key(self, kind: Kind) -> ObjectKey:
        return ObjectKey(kind, self.names.environment)
