"""Requests to the local Azure by hand: HTTPS with a token, and no SDK between."""

import asyncio

import pytest_asyncio

from tests.login import login_form


class Caller:
    """ARM requests by hand in one resource group: `ask` gives status, headers and JSON."""

    def __init__(self, http, azure, token, group):
        self._http, self._token = http, token
        self.group = f"{azure.subscription}/resourceGroups/{group}"
        self.home = f"{self.group}/providers/Microsoft.App/managedEnvironments/cae"
        self.nobody = (
            f"{self.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody"
        )

    async def ask(self, method, path, body=None, version="2025-01-01"):
        address = path if "api-version" in path else f"{path}?api-version={version}"
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._http.request(method, address, json=body, headers=headers) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, answer.headers, await answer.json() if is_json else None

    async def put(self, kind, name, body):
        return await self.ask("PUT", f"{self.group}/providers/Microsoft.App/{kind}/{name}", body)

    async def ended(self, headers):
        """The last answer of the address that a write named."""
        address = headers.get("Azure-AsyncOperation") or headers["Location"]
        while True:
            status, _, shown = await self.ask(
                "GET", address.partition("127.0.0.1")[2].lstrip(":0123456789")
            )
            if status != 202 and (shown or {}).get("status") != "InProgress":
                return status, shown
            await asyncio.sleep(0.02)

    def app(self, image="nothing:1", configuration=None, container=None, **template):
        inside = {"name": "web", "image": image, **(container or {})}
        return {
            "location": "swedencentral",
            "properties": {
                "environmentId": self.home,
                "configuration": configuration or {},
                "template": {"containers": [inside], **template},
            },
        }

    def job(self, *rules):
        trigger = {"scale": {"rules": list(rules)}}
        configuration = {
            "triggerType": "Event",
            "replicaTimeout": 60,
            "eventTriggerConfig": trigger,
        }
        return self.app(configuration=configuration)


async def token_for(http, azure, audience):
    """A token of the one client."""
    facts = azure.facts
    form = login_form(facts, audience)
    async with http.post(f"/{facts['tenantId']}/oauth2/v2.0/token", data=form) as answer:
        return (await answer.json())["access_token"]


@pytest_asyncio.fixture
async def caller(azure, http, request):
    """A caller with a group and an environment of its own."""
    token = await token_for(http, azure, "https://management.azure.com")
    made = Caller(http, azure, token, f"rg-{abs(hash(request.node.name)) % 10**10}")
    await made.ask("PUT", made.group, {"location": "swedencentral"}, "2021-04-01")
    profiles = [{"name": "Consumption", "workloadProfileType": "Consumption"}]
    environment = {"location": "swedencentral", "properties": {"workloadProfiles": profiles}}
    _, headers, _ = await made.ask("PUT", made.home, environment)
    await made.ended(headers)
    return made
