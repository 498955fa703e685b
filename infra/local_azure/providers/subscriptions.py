"""The subscription itself: cloud metadata, tenants, subscriptions, provider registration,
locations.
"""

from dataclasses import dataclass

from infra.local_azure.arm.call import Call, Routes
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.arm.ids import NAMESPACES
from infra.local_azure.arm.registration import Registrations
from infra.local_azure.arm.reply import Reply
from infra.local_azure.control.records import Body
from infra.local_azure.login import Login
from infra.local_azure.providers.provider import Provider
from infra.local_azure.regions import REGIONS

_TYPES = {
    "Microsoft.App": (
        "containerApps",
        "containerApps/revisions",
        "jobs",
        "jobs/executions",
        "managedEnvironments",
        "managedEnvironments/storages",
        "locations",
        "operations",
        "locations/usages",
        "locations/managedEnvironmentOperationStatuses",
        "locations/containerappOperationStatuses",
        "locations/availableManagedEnvironmentsWorkloadProfileTypes",
    ),
    "Microsoft.Authorization": (
        "locks",
        "permissions",
        "roleAssignments",
        "roleDefinitions",
    ),
    "Microsoft.Insights": ("eventtypes", "eventtypes/values"),
    "Microsoft.KeyVault": ("vaults",),
    "Microsoft.ManagedIdentity": ("userAssignedIdentities",),
    "Microsoft.OperationalInsights": (
        "workspaces",
        "deletedWorkspaces",
        "locations",
        "locations/operationStatuses",
    ),
    "Microsoft.Resources": (
        "deployments",
        "deployments/operations",
        "resourceGroups",
        "subscriptions",
        "tags",
        "resources",
    ),
    "Microsoft.Storage": (
        "storageAccounts",
        "storageAccounts/fileServices",
        "storageAccounts/fileServices/shares",
        "checkNameAvailability",
        "locations",
    ),
}
_VERSIONS = [
    "2026-09-01",
    "2026-07-01",
    "2026-01-01",
    "2025-08-01",
    "2025-07-01",
    "2025-04-01",
    "2025-01-01",
    "2024-11-01",
    "2024-03-01",
    "2024-01-01",
    "2023-09-01",
    "2023-05-01",
    "2022-09-01",
    "2021-12-01-preview",
    "2021-04-01",
]


@dataclass(frozen=True)
class Subscriptions(Provider):
    """Cloud metadata, tenants, the subscription, its locations and its resource providers."""

    login: Login
    registrations: Registrations

    def routes(self) -> Routes:
        return {
            "get metadata/endpoints": self.metadata,
            "get tenants": self.tenants,
            "get subscriptions": self.subscriptions,
            "get subscriptions/{}": self.subscription,
            "get subscriptions/{}/locations": self.locations,
            "get subscriptions/{}/providers": self.providers,
            "get subscriptions/{}/providers/{}": self.provider,
            "post subscriptions/{}/providers/{}/register": self.register,
            "post subscriptions/{}/providers/{}/unregister": self.unregister,
        }

    def metadata(self, call: Call) -> Reply:
        """What `az cloud register` reads; before 2022-09-01 a list with one entry."""
        described = cloud(call.base, self.login.identity.tenant)
        return Reply(200, described if call.version >= "2022-09-01" else [described])

    def tenants(self, call: Call) -> Reply:
        tenant = self.login.identity.tenant
        entry = {
            "id": f"/tenants/{tenant}",
            "tenantId": tenant,
            "displayName": "Local Azure",
            "tenantCategory": "Home",
        }
        return Reply(200, {"value": [entry]})

    def subscriptions(self, call: Call) -> Reply:
        return Reply(200, {"value": [self._subscription(call)]})

    def subscription(self, call: Call) -> Reply:
        return Reply(200, self._subscription(call))

    def locations(self, call: Call) -> Reply:
        root = f"/subscriptions/{self.login.identity.subscription}/locations"
        value = [
            {
                "id": f"{root}/{name}",
                "name": name,
                "type": "Region",
                "displayName": shown,
                "regionalDisplayName": shown,
            }
            for name, shown in REGIONS.items()
        ]
        return Reply(200, {"value": value})

    def providers(self, call: Call) -> Reply:
        return Reply(200, {"value": [self._provider(call, name) for name in NAMESPACES]})

    def provider(self, call: Call) -> Reply:
        return Reply(200, self._provider(call, _known(call)))

    def register(self, call: Call) -> Reply:
        """Takes a while: Registering, in which writes are still refused, then Registered."""
        name = _known(call)
        self.registrations.register(name)
        return Reply(200, self._provider(call, name))

    def unregister(self, call: Call) -> Reply:
        name = _known(call)
        self.registrations.unregister(name)
        return Reply(200, self._provider(call, name))

    def _subscription(self, call: Call) -> Body:
        identity = self.login.identity
        return {
            "id": f"/subscriptions/{identity.subscription}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": identity.subscription,
            "tenantId": identity.tenant,
            "displayName": "Local Azure",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "Local_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def _provider(self, call: Call, name: str) -> Body:
        state = self.registrations.state(name)
        shown = list(REGIONS.values())
        types = [
            {
                "resourceType": kind,
                "locations": shown,
                "apiVersions": _VERSIONS,
                "capabilities": "None",
            }
            for kind in _TYPES[name]
        ]
        return {
            "id": f"/subscriptions/{self.login.identity.subscription}/providers/{name}",
            "namespace": name,
            "registrationPolicy": "RegistrationRequired",
            "registrationState": state,
            "resourceTypes": types,
        }


def cloud(base: str, tenant: str) -> Body:
    """The cloud's names and addresses; templates see them as environment()."""
    return {
        "name": "Local",
        "portal": base,
        "authentication": {
            "loginEndpoint": base,
            "audiences": [
                base,
                "https://management.core.windows.net/",
                "https://management.azure.com/",
            ],
            "tenant": tenant,
            "identityProvider": "AAD",
        },
        "resourceManager": f"{base}/",
        "graph": base,
        "graphAudience": base,
        "media": base,
        "batch": base,
        "gallery": base,
        "activeDirectoryDataLake": base,
        "sqlManagement": base,
        "suffixes": {
            "storage": "localhost",
            "keyVaultDns": "vault.localhost",
            "acrLoginServer": "azurecr.localhost",
        },
    }


def _known(call: Call) -> str:
    name = call.target.namespace or ""
    if name not in _TYPES:
        text = f"The resource provider namespace '{name}' is invalid."
        raise ArmError(
            404, "InvalidResourceNamespace", text, headers={"x-ms-failure-cause": "gateway"}
        )
    return name
