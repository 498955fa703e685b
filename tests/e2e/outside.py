"""Somebody else with rights in the subscription and the Azure SDK in hand: what drift
comes from.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from azure.core.rest import HttpRequest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.appcontainers.aio import ContainerAppsAPIClient
from azure.mgmt.loganalytics.aio import LogAnalyticsManagementClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient
from azure.mgmt.storage.aio import StorageManagementClient
from azure.storage.fileshare.aio import ShareClient

from tests.e2e.stage import Stage


@dataclass
class Outside:
    """The SDK's clients, signed in with the facts that `local-azure start` prints."""

    endpoint: str
    subscription: str
    ca: str
    apps: ContainerAppsAPIClient
    storage: StorageManagementClient
    resources: ResourceManagementClient
    logs: LogAnalyticsManagementClient

    async def get(self, path: str, version: str = "2026-07-01") -> Any:
        """The JSON of a resource by its path below the subscription, None when it is not there."""
        url = f"{self.endpoint}/subscriptions/{self.subscription}{path}"
        answer = await self.apps.send_request(
            HttpRequest("GET", url, params={"api-version": version})
        )
        return answer.json() if answer.status_code == 200 else None

    async def share(
        self, group: str, account: str, share: str, stack: AsyncExitStack
    ) -> ShareClient:
        """A share's client, with the account's key."""
        keys = await self.storage.storage_accounts.list_keys(group, account)
        client = ShareClient(
            f"{self.endpoint}/{account}",
            share,
            credential=keys["keys"][0]["value"],
            connection_verify=self.ca,
        )
        return await stack.enter_async_context(client)


@asynccontextmanager
async def outside(stage: Stage) -> AsyncIterator[Outside]:
    """Connect to the stage's local Azure."""
    facts = stage.facts or stage.azure("start")
    settings: dict[str, Any] = {
        "base_url": facts["armEndpoint"],
        "credential_scopes": [f"{facts['armEndpoint']}/.default"],
        "connection_verify": facts["caFile"],
    }
    async with AsyncExitStack() as stack:
        credential = await stack.enter_async_context(
            ClientSecretCredential(
                facts["tenantId"],
                facts["clientId"],
                facts["clientSecret"],
                authority=facts["authority"],
                disable_instance_discovery=True,
                connection_verify=facts["caFile"],
            )
        )
        clients = [
            ContainerAppsAPIClient,
            StorageManagementClient,
            ResourceManagementClient,
            LogAnalyticsManagementClient,
        ]
        opened = [
            await stack.enter_async_context(each(credential, facts["subscriptionId"], **settings))
            for each in clients
        ]
        yield Outside(facts["armEndpoint"], facts["subscriptionId"], facts["caFile"], *opened)
