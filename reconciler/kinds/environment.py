"""Microsoft.App/managedEnvironments: where container apps run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.api.outputs import WorkspaceOutputs
from reconciler.api.reasons import Reason
from reconciler.api.resources import ResourceSpec
from reconciler.arm import environments, ids, resources
from reconciler.engine.external import Desired, Facts, Identity, ObjectKey, Operation
from reconciler.kinds.arm_resource import ArmResource
from reconciler.kinds.comparison import with_common

_DOMAIN, _TELEMETRY = (
    "properties.customDomainConfiguration",
    "properties.openTelemetryConfiguration",
)
_OTLP = f"{_TELEMETRY}.destinationsConfiguration.otlpConfigurations"
RULES = with_common(
    lists={  # profiles of others are sent back as they are, so the list is not owned whole
        "properties.workloadProfiles": "name",
        "properties.availabilityZones": "",
        _OTLP: "name",
        f"{_OTLP}.headers": "key",
        f"{_TELEMETRY}.*.destinations": "",
    },
    whole=(
        "properties.availabilityZones",
        _OTLP,
        f"{_OTLP}.headers",
        f"{_TELEMETRY}.*.destinations",
    ),
    ignore_case=(
        "properties.workloadProfiles.name",
        "properties.workloadProfiles.workloadProfileType",
        "properties.appLogsConfiguration.destination",
        "properties.appLogsConfiguration.logAnalyticsConfiguration.customerId",
        "properties.publicNetworkAccess",
        "properties.environmentMode",
        "properties.infrastructureResourceGroup",
        f"{_DOMAIN}.dnsSuffix",
    ),
    read_only=(
        *(
            f"properties.{name}"
            for name in (
                "defaultDomain",
                "staticIp",
                "eventStreamEndpoint",
                "deploymentErrors",
                "kedaConfiguration.version",
                "daprConfiguration.version",
                "privateEndpointConnections",
                "privateLinkDefaultDomain",
            )
        ),
        *(
            f"{_DOMAIN}.{name}"
            for name in (
                "customDomainVerificationId",
                "expirationDate",
                "thumbprint",
                "subjectName",
            )
        ),
    ),
    write_only=(
        "properties.appLogsConfiguration.logAnalyticsConfiguration.sharedKey",
        "properties.daprAIInstrumentationKey",
        "properties.daprAIConnectionString",
        "properties.appInsightsConfiguration.connectionString",
        f"{_DOMAIN}.certificateValue",
        f"{_DOMAIN}.certificatePassword",
        f"{_OTLP}.headers.value",
        f"{_TELEMETRY}.destinationsConfiguration.dataDogConfiguration.key",
    ),
    defaults={
        "properties.workloadProfiles": [
            {"name": "Consumption", "workloadProfileType": "Consumption"}
        ],
        "properties.workloadProfiles.minimumCount": 0,
        "properties.appLogsConfiguration.destination": "none",
        "properties.publicNetworkAccess": "Enabled",
        f"{_TELEMETRY}.*.includeDapr": False,
        f"{_TELEMETRY}.*.includeKeda": False,
    },
    varying=("properties.publicNetworkAccess",),  # by the network
)


class ManagedEnvironment(ArmResource[ResourceSpec]):
    """Written with PATCH once it exists: a PUT would reset what others set. Its workspace is given
    when it is created.
    """

    name = Kind.ENVIRONMENT
    failed = Reason.ENVIRONMENT_FAILED
    tells_its_end = True
    rules = RULES

    async def put(
        self,
        desired: Desired[ResourceSpec],
        body: Mapping[str, Any],
        found: Mapping[str, Any] | None,
        facts: Facts,
    ) -> Operation | None:
        spec = desired.spec
        if found is None:
            whole = {**await self._with_logs(desired, facts), "tags": body["tags"]}
            return await environments.put_environment(
                self.arm, spec.resource_group, spec.name, whole
            )
        # ARM replaces the list of profiles whole: those we do not own are sent back as they are.
        ours = {
            profile["name"]
            for profile in (body.get("properties") or {}).get("workloadProfiles") or []
        }
        kept = [
            p for p in found["properties"].get("workloadProfiles") or [] if p["name"] not in ours
        ]
        patch: dict[str, Any] = {
            "location": found["location"],
            **{k: body[k] for k in ("tags",) if k in body},
        }
        properties: dict[str, Any] = {}
        if ours:
            properties["workloadProfiles"] = [*body["properties"]["workloadProfiles"], *kept]
        wanted = (body.get("properties") or {}).get("appLogsConfiguration")
        there = found["properties"].get("appLogsConfiguration") or {}
        if wanted and there.get("destination") != wanted["destination"]:
            whole = await self._with_logs(desired, facts)  # with its key, which Azure never shows
            properties["appLogsConfiguration"] = whole["properties"]["appLogsConfiguration"]
        if properties:
            patch["properties"] = properties
        return await environments.patch_environment(self.arm, spec.resource_group, spec.name, patch)

    async def remove(self, identity: Identity, found: Mapping[str, Any]) -> Operation | None:
        return await environments.delete_environment(
            self.arm, ids.part(identity.id, "resourceGroups"), ids.name(identity.id)
        )

    async def _with_logs(self, desired: Desired[ResourceSpec], facts: Facts) -> dict[str, Any]:
        spec = desired.spec
        workspace = facts.outputs(ObjectKey(Kind.WORKSPACE, desired.key.name), WorkspaceOutputs)
        name = ids.name(workspace.id)
        key = await resources.workspace_shared_key(self.arm, spec.resource_group, name)
        return creation(spec, str(workspace.customer_id), key)


def creation(spec: ResourceSpec, customer_id: str, shared_key: str) -> dict[str, Any]:
    """What creates the environment, sending its logs to that workspace."""
    logs = {
        "destination": "log-analytics",
        "logAnalyticsConfiguration": {"customerId": customer_id, "sharedKey": shared_key},
    }
    return {**spec.body, "properties": {**spec.body["properties"], "appLogsConfiguration": logs}}
