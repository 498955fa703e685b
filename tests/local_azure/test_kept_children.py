"""What templates put below an environment or an app: kept and shown as Azure shows it, through the
SDK's own operations.
"""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.local_azure.app_documents import (
    app_body,
    environment,  # noqa: F401 - fixtures
    settle,
)


async def test_a_dapr_component_is_kept_and_its_secrets_are_not_shown(clients, environment):
    """Nulls are dropped, the secret's value comes only from listSecrets, and a delete is 204."""
    group, identifier = environment
    name = identifier.rsplit("/", 1)[1]
    components = clients.apps.dapr_components
    with pytest.raises(ResourceNotFoundError) as missing:
        await components.get(group, name, "store")
    assert missing.value.error.code == "DaprComponentNotFound"
    body = {
        "componentType": "state.azure.blobstorage",
        "version": "v1",
        "initTimeout": None,
        "secrets": [{"name": "account", "value": "hush"}],
        "metadata": [{"name": "accountName", "secretRef": "account"}],
    }
    await components.create_or_update(group, name, "store", {"properties": body})
    shown = (await clients.raw("GET", f"{identifier}/daprComponents/store"))[2]
    assert shown["type"] == "Microsoft.App/managedEnvironments/daprComponents"
    assert shown["properties"] == {
        "componentType": "state.azure.blobstorage",
        "version": "v1",
        "ignoreErrors": False,
        "secrets": [{"name": "account"}],
        "metadata": [{"name": "accountName", "secretRef": "account"}],
    }
    (secret,) = (await components.list_secrets(group, name, "store")).value
    assert (secret.name, secret.value) == ("account", "hush")
    assert [each.name async for each in components.list(group, name)] == ["store"]
    body = {"properties": {"ignoreErrors": "perhaps"}}
    with pytest.raises(HttpResponseError) as wrong:
        await components.create_or_update(group, name, "store", body)
    assert wrong.value.status_code == 400
    await components.delete(group, name, "store")
    assert [each.name async for each in components.list(group, name)] == []
    with pytest.raises(ResourceNotFoundError):
        await components.get(group, "cae-nowhere", "store")


async def test_the_sign_in_of_an_app_is_kept_and_goes_with_it(clients, environment):
    """Written again it is replaced; after the app is deleted a new one has none."""
    group, identifier = environment
    await settle(clients, group, "web", app_body(identifier))
    configs = clients.apps.container_apps_auth_configs
    for action in ("AllowAnonymous", "Return401"):
        body = {
            "platform": {"enabled": True},
            "globalValidation": {"unauthenticatedClientAction": action},
        }
        made = await configs.create_or_update(group, "web", "current", {"properties": body})
        assert made.properties.platform.enabled
    shown = await configs.get(group, "web", "current")
    assert shown.properties.global_validation.unauthenticated_client_action == "Return401"
    assert [each.name async for each in configs.list_by_container_app(group, "web")] == ["current"]
    await (await clients.apps.container_apps.begin_delete(group, "web")).result()
    with pytest.raises(ResourceNotFoundError):
        await configs.get(group, "web", "current")
    await settle(clients, group, "web", app_body(identifier))
    assert [each.name async for each in configs.list_by_container_app(group, "web")] == []
