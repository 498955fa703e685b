"""Templates of deployments, and how a test deploys one."""

import pytest
import pytest_asyncio
from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


VERSION = "2022-09-01"


def template(resources, parameters=None, **more):
    return {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": parameters or {},
        "resources": resources,
        **more,
    }


def account(name="[parameters('name')]", **more):
    return {
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2024-01-01",
        "name": name,
        "kind": "StorageV2",
        "location": "[resourceGroup().location]",
        "sku": {"name": "Standard_LRS"},
        "properties": {},
        **more,
    }


ACCOUNT_ID = "[resourceId('Microsoft.Storage/storageAccounts', parameters('name'))]"


ENVIRONMENT_ID = "[resourceId('Microsoft.App/managedEnvironments', variables('environment'))]"


NAME = {
    "name": {"type": "string", "minLength": 3},
    "key": {"type": "secureString", "defaultValue": ""},
}


WHOLE = template(
    [  # the app stands first: the order is what they need of each other
        {
            "type": "Microsoft.App/containerApps",
            "apiVersion": "2024-03-01",
            "name": "app",
            "location": "[resourceGroup().location]",
            "dependsOn": [
                ENVIRONMENT_ID,
                (
                    "[resourceId('Microsoft.App/managedEnvironments/storages',"
                    " variables('environment'), 's')]"
                ),
            ],
            "properties": {
                "environmentId": ENVIRONMENT_ID,
                "configuration": {"ingress": {"external": True, "targetPort": 8000}},
                "template": {
                    "containers": [
                        {
                            "name": "main",
                            "image": "nginx",
                            "resources": {"cpu": "[json('0.5')]", "memory": "1Gi"},
                        }
                    ],
                    "scale": {"minReplicas": 0, "maxReplicas": 1},
                    "volumes": [{"name": "v", "storageType": "AzureFile", "storageName": "s"}],
                },
            },
        },
        {
            "type": "Microsoft.App/managedEnvironments/storages",
            "apiVersion": "2024-03-01",
            "name": "[format('{0}/s', variables('environment'))]",
            "dependsOn": [ENVIRONMENT_ID, "share"],
            "properties": {
                "azureFile": {
                    "accountName": "[parameters('name')]",
                    "accountKey": f"[listKeys({ACCOUNT_ID[1:-1]}, '2024-01-01').keys[0].value]",
                    "shareName": "share0",
                    "accessMode": "ReadWrite",
                }
            },
        },
        {
            "type": "Microsoft.App/managedEnvironments",
            "apiVersion": "2024-03-01",
            "name": "[variables('environment')]",
            "location": "[resourceGroup().location]",
            "properties": {
                "appLogsConfiguration": {
                    "destination": "log-analytics",
                    "logAnalyticsConfiguration": {
                        "customerId": "[reference('law-x').customerId]",
                        "sharedKey": "[listKeys('law-x', '2023-09-01').primarySharedKey]",
                    },
                }
            },
        },
        {
            "type": "Microsoft.OperationalInsights/workspaces",
            "apiVersion": "2023-09-01",
            "name": "law-x",
            "location": "[resourceGroup().location]",
            "properties": {"sku": {"name": "PerGB2018"}},
        },
        {
            "type": "Microsoft.Storage/storageAccounts/fileServices/shares",
            "apiVersion": "2024-01-01",
            "name": "[format('{0}/default/share{1}', parameters('name'), copyIndex())]",
            "copy": {"name": "share", "count": 2},
            "dependsOn": [ACCOUNT_ID],
            "properties": {"shareQuota": 5},
        },
        account(tags={"made": "by hand"}),
        {**account("never"), "condition": "[equals(parameters('name'), 'never')]"},
    ],
    NAME,
    variables={
        "environment": "[format('cae-{0}', substring(uniqueString(resourceGroup().id), 0, 5))]"
    },
    outputs={
        "APP_ENDPOINT": {
            "type": "string",
            "value": "[reference('app').configuration.ingress.fqdn]",
        },
        "accountId": {"type": "string", "value": ACCOUNT_ID},
        "secret": {"type": "secureString", "value": "[parameters('key')]"},
    },
)


WHOLE["resources"][2]["properties"]["appLogsConfiguration"]["logAnalyticsConfiguration"][
    "sharedKey"
] = (
    "[listKeys(resourceId('Microsoft.OperationalInsights/workspaces', 'law-x'),"
    " '2023-09-01').primarySharedKey]"
)


@pytest_asyncio.fixture
async def deployments(clients):
    facts = clients.azure.facts
    async with DeploymentsMgmtClient(
        clients.credential, facts["subscriptionId"], base_url=clients.azure.endpoint, retry_total=0,
        credential_scopes=[f"{clients.azure.endpoint}/.default"], connection_verify=facts["caFile"], polling_interval=0.05,
    ) as client:  # fmt: skip
        yield client.deployments


@pytest.fixture
async def group(clients, request):
    name = f"rg-{abs(hash(request.node.name)) % 10**10}"
    await clients.resources.resource_groups.create_or_update(name, {"location": "swedencentral"})
    return name


def asked(source, mode="Incremental", **parameters):
    given = {key: {"value": value} for key, value in parameters.items()}
    return {"properties": {"mode": mode, "template": source, "parameters": given}}


async def deploy(deployments, group, name, body):
    return await (await deployments.begin_create_or_update(group, name, body)).result()
