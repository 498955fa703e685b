"""The subscription itself: cloud metadata, tenants, subscriptions, provider registration,
locations.
"""

from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm.call import Call, Handler, Reply
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.arm.ids import NAMESPACES
from infra.local_azure.regions import REGIONS

Body = dict[str, Any]
_REGISTERING_S = 60.0
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
    "Microsoft.Authorization": ("locks",),
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


def metadata(call: Call) -> Reply:
    """What `az cloud register` reads. Before 2022-09-01 the document was a list with one entry."""
    described = cloud(call.base, call.azure.login.identity.tenant)
    return Reply(200, described if call.version >= "2022-09-01" else [described])


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


def tenants(call: Call) -> Reply:
    tenant = call.azure.login.identity.tenant
    entry = {
        "id": f"/tenants/{tenant}",
        "tenantId": tenant,
        "displayName": "Local Azure",
        "tenantCategory": "Home",
    }
    return Reply(200, {"value": [entry]})


def subscriptions(call: Call) -> Reply:
    return Reply(200, {"value": [_subscription(call)]})


def subscription(call: Call) -> Reply:
    return Reply(200, _subscription(call))


def locations(call: Call) -> Reply:
    root = f"/subscriptions/{call.azure.login.identity.subscription}/locations"
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


def providers(call: Call) -> Reply:
    return Reply(200, {"value": [_provider(call, name) for name in NAMESPACES]})


def provider(call: Call) -> Reply:
    return Reply(200, _provider(call, _known(call)))


def register(call: Call) -> Reply:
    """Takes a while: Registering, in which writes are still refused, then Registered."""
    name = _known(call)
    if call.azure.registration(name) == "NotRegistered":
        call.azure.store.keep(
            f"registration:{name}",
            str(clock.now() + call.azure.options.pace.scaled(_REGISTERING_S)),
        )
    return Reply(200, _provider(call, name))


def unregister(call: Call) -> Reply:
    name = _known(call)
    call.azure.store.keep(f"registration:{name}", "never")
    return Reply(200, _provider(call, name))


def _known(call: Call) -> str:
    name = call.target.namespace or ""
    if name not in _TYPES:
        text = f"The resource provider namespace '{name}' is invalid."
        raise ArmError(
            404, "InvalidResourceNamespace", text, headers={"x-ms-failure-cause": "gateway"}
        )
    return name


def _subscription(call: Call) -> Body:
    identity = call.azure.login.identity
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


def _provider(call: Call, name: str) -> Body:
    state = call.azure.registration(name)
    shown = list(REGIONS.values())
    types = [
        {"resourceType": kind, "locations": shown, "apiVersions": _VERSIONS, "capabilities": "None"}
        for kind in _TYPES[name]
    ]
    return {
        "id": f"/subscriptions/{call.azure.login.identity.subscription}/providers/{name}",
        "namespace": name,
        "registrationPolicy": "RegistrationRequired",
        "registrationState": state,
        "resourceTypes": types,
    }


ROUTES: dict[str, Handler] = {
    "get metadata/endpoints": metadata,
    "get tenants": tenants,
    "get subscriptions": subscriptions,
    "get subscriptions/{}": subscription,
    "get subscriptions/{}/locations": locations,
    "get subscriptions/{}/providers": providers,
    "get subscriptions/{}/providers/{}": provider,
    "post subscriptions/{}/providers/{}/register": register,
    "post subscriptions/{}/providers/{}/unregister": unregister,
}
