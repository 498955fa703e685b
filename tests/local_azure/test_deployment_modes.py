"""Deployments that do more than write: Complete mode, what-if, nesting, cancelling, a restart."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from azure.core.exceptions import ResourceNotFoundError

from tests.local_azure.deployment_templates import (  # noqa: F401 - fixtures
    ACCOUNT_ID,
    NAME,
    WHOLE,
    account,
    asked,
    deploy,
    deployments,
    group,
    template,
)


async def test_complete_mode_deletes_the_rest(clients, deployments, group):
    """What the template lacks goes, dependents before what they stand on; Incremental leaves it."""
    name = f"st{group[3:]}"
    await deploy(deployments, group, "all", asked(WHOLE, name=name))
    less = template([account()], NAME)
    await deploy(deployments, group, "less", asked(less, name=name))
    assert await clients.apps.container_apps.get(group, "app")
    await deploy(deployments, group, "only", asked(less, "Complete", name=name))
    left = [one.name async for one in clients.resources.resources.list_by_resource_group(group)]
    assert left == [name]


async def test_what_if_foretells(clients, deployments, group):
    """Create, NoChange, Modify with its delta, Ignore and in Complete mode Delete, from the state
    that is there.
    """
    name = f"st{group[3:]}"
    source = template(
        [account(sku={"name": "[parameters('sku')]"})],
        {**NAME, "sku": {"type": "string", "defaultValue": "Standard_LRS"}},
    )

    async def foretold(mode="Incremental", **parameters):
        body = asked(source, mode, name=name, **parameters)
        body["properties"]["whatIfSettings"] = {"resultFormat": "FullResourcePayloads"}
        return [
            one.as_dict()
            for one in (
                await (await deployments.begin_what_if(group, "w", body)).result()
            ).properties.changes
        ]

    created = await foretold()
    assert [(one["changeType"], one["after"]["sku"]) for one in created] == [
        ("Create", {"name": "Standard_LRS"})
    ]
    await deploy(deployments, group, "w", asked(source, name=name))
    await (
        await clients.logs.workspaces.begin_create_or_update(
            group, "law-other", {"location": "swedencentral"}
        )
    ).result()
    assert sorted(one["changeType"] for one in await foretold()) == ["Ignore", "NoChange"]
    changed = {one["changeType"]: one for one in await foretold("Complete", sku="Standard_GRS")}
    assert set(changed) == {"Delete", "Modify"}
    assert changed["Modify"]["delta"] == [
        {
            "path": "sku.name",
            "propertyChangeType": "Modify",
            "before": "Standard_LRS",
            "after": "Standard_GRS",
        }
    ]
    assert (
        await clients.storage.storage_accounts.get_properties(group, name)
    ).sku.name == "Standard_LRS"


async def test_a_subscription_deployment_makes_its_group_and_nests(clients, deployments, group):
    """What azd and Bicep modules do: a group, then a deployment inside it with a scope and outputs
    of its own.
    """
    inner = template(
        [account("[parameters('name')]")],
        {"name": {"type": "string"}},
        outputs={"id": {"type": "string", "value": ACCOUNT_ID}},
    )
    name, made = f"st{group[3:]}n", f"{group}-made"
    nested = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "inner",
        "resourceGroup": made,
        "dependsOn": [f"[subscriptionResourceId('Microsoft.Resources/resourceGroups', '{made}')]"],
        "properties": {
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "parameters": {"name": {"value": "[parameters('name')]"}},
            "template": inner,
        },
    }
    here = {
        "type": "Microsoft.Resources/resourceGroups",
        "apiVersion": "2024-03-01",
        "name": made,
        "location": "swedencentral",
    }
    path = f"format('/subscriptions/{{0}}/resourceGroups/{made}', subscription().subscriptionId)"
    output = (
        f"[reference(extensionResourceId({path}, 'Microsoft.Resources/deployments', 'inner'),"
        " '2022-09-01').outputs.id.value]"
    )
    source = template(
        [nested, here],
        {"name": {"type": "string"}},
        outputs={"STORE": {"type": "string", "value": output}},
    )
    body = {**asked(source, name=name), "location": "swedencentral", "tags": {"a": "b"}}
    checked = await (await deployments.begin_validate_at_subscription_scope("sub", body)).result()
    assert [one.id.rsplit("/", 1)[-1] for one in checked.properties.validated_resources] == [
        "inner",
        made,
        name,
    ]
    done = await (
        await deployments.begin_create_or_update_at_subscription_scope("sub", body)
    ).result()
    assert (done.location, dict(done.tags)) == ("swedencentral", {"a": "b"})
    assert done.properties.outputs["store"]["value"].endswith(
        f"/resourceGroups/{made}/providers/Microsoft.Storage/storageAccounts/{name}"
    )
    assert [one.id.rsplit("/", 1)[-1] for one in done.properties.output_resources] == [made, name]
    assert [one.name async for one in deployments.list_at_subscription_scope()] == ["sub"]
    nested["resourceGroup"] = "rg-nobody"
    with pytest.raises(ResourceNotFoundError, match="rg-nobody"):
        await (await deployments.begin_create_or_update_at_subscription_scope("sub", body)).result()


async def test_an_outer_scope_and_symbols(deployments, group):
    """A nested template may be evaluated outside, and a template of language version 2 names its
    resources.
    """
    outer = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "outer",
        "properties": {
            "mode": "Incremental",
            "template": template([account("[concat(parameters('name'), 'o')]")]),
        },
    }
    resources = {
        "one": account(tags={"n": "[string(add(1, 2))]"}),
        "there": {**account(), "existing": True, "dependsOn": ["one"]},
        "two": outer,
    }
    source = template(
        resources,
        NAME,
        languageVersion="2.0",
        outputs={"kind": {"type": "object", "value": "[reference('one', '2024-01-01', 'full')]"}},
    )
    done = await deploy(deployments, group, "v2", asked(source, name=f"st{group[3:]}"))
    assert done.properties.outputs["kind"]["value"]["tags"] == {"n": "3"}
    assert len(done.properties.output_resources) == 2


async def test_cancel_stops_what_has_not_begun(clients, deployments, connected_to, make_azure):
    """204, then Canceled; what was under way is left, what waited never begins; a second cancel is
    a conflict.
    """
    async with AsyncExitStack() as stack:
        slow = await connected_to(make_azure("--operation-seconds", "2"), stack)
        await slow.resources.resource_groups.create_or_update("rg", {"location": "swedencentral"})
        path = f"{slow.group('rg')}/providers/Microsoft.Resources/deployments/one"
        body = asked(WHOLE, name="stcancel")
        assert (await slow.raw("PUT", path, body))[0] == 201
        assert (await slow.raw("PUT", path, body))[2]["error"]["code"] == "DeploymentActive"
        assert (await slow.raw("DELETE", path))[0] == 409
        assert (await slow.raw("POST", f"{path}/cancel"))[0] == 204
        assert (await slow.raw("GET", path))[2]["properties"]["provisioningState"] == "Canceled"
        assert (await slow.raw("POST", f"{path}/cancel"))[0] == 409
        assert (await slow.raw("DELETE", path))[0] == 202
        assert (
            await slow.raw("GET", f"{slow.group('rg')}/providers/Microsoft.App/containerApps/app")
        )[0] == 404


async def test_a_killed_server_goes_on(connected_to, make_azure):
    """kill -9 in the middle: the next server finishes the deployment, and what was done is not
    lost.
    """
    async with AsyncExitStack() as stack:
        azure = make_azure("--operation-seconds", "0.3")
        before = await connected_to(azure, stack)
        await before.resources.resource_groups.create_or_update("rg", {"location": "swedencentral"})
        path = f"{before.group('rg')}/providers/Microsoft.Resources/deployments/one"
        assert (await before.raw("PUT", path, asked(WHOLE, name="stkilled")))[0] == 201
        while not (await before.raw("GET", f"{path}/operations"))[2]["value"]:
            await asyncio.sleep(0.05)
        azure.kill()
        azure.start()
        after = await connected_to(azure, stack)
        while (found := (await after.raw("GET", path))[2]["properties"])["provisioningState"] in {
            "Accepted",
            "Running",
        }:
            await asyncio.sleep(0.1)
        assert found["provisioningState"] == "Succeeded"
        assert len(found["outputResources"]) == 7


async def test_the_hash_and_what_is_not_there(clients, deployments, group):
    """The hash of a template without deploying it; 404 for an unknown deployment or group; HEAD; a
    filter.
    """
    empty = template([])
    assert (await deployments.calculate_template_hash(empty)).template_hash.isdigit()
    with pytest.raises(ResourceNotFoundError) as missing:
        await deployments.get(group, "nobody")
    assert missing.value.error.code == "DeploymentNotFound"
    with pytest.raises(ResourceNotFoundError) as missing:
        await deploy(deployments, "rg-nobody", "x", asked(empty))
    assert missing.value.error.code == "ResourceGroupNotFound"
    await deploy(deployments, group, "x", asked(empty))
    assert await deployments.check_existence(group, "x")
    await (await deployments.begin_delete(group, "x")).result()
    assert not await deployments.check_existence(group, "x")
