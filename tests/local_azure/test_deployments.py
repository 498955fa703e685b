"""Template deployments through the real SDK: create, validate, what-if, outputs, modes, nesting,
failures, cancel, survival.
"""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
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


async def test_a_whole_environment_is_provisioned(clients, deployments, group):
    """Everything is made in the order of its references, and the outputs say what was made."""
    name = f"st{group[3:]}"
    done = await deploy(deployments, group, "all", asked(WHOLE, name=name, key="hush"))
    assert done.properties.provisioning_state == "Succeeded"
    outputs = done.properties.outputs
    assert outputs["accountId"]["value"].endswith(f"/storageAccounts/{name}")
    assert outputs["secret"] == {"type": "SecureString"}
    app = await clients.apps.container_apps.get(group, "app")
    assert outputs["apP_ENDPOINT"] == {"type": "String", "value": app.configuration.ingress.fqdn}
    ids = [one.id for one in done.properties.output_resources]
    assert ids == sorted(ids, key=str.lower)
    assert len(ids) == 7
    parameters = (await deployments.get(group, "all")).properties.parameters
    assert parameters == {
        "name": {"type": "String", "value": name},
        "key": {"type": "SecureString"},
    }
    assert dict((await clients.storage.storage_accounts.get_properties(group, name)).tags) == {
        "made": "by hand"
    }
    again = await deploy(deployments, group, "all", asked(WHOLE, name=name))
    assert again.properties.provisioning_state == "Succeeded"
    steps = [one async for one in _operations(clients, group, "all")]
    assert {one["properties"]["provisioningState"] for one in steps} == {"Succeeded"}
    assert steps[0]["properties"]["provisioningOperation"] == "EvaluateDeploymentOutput"
    assert len(steps) == 8
    found = await deployments.export_template(group, "all")
    assert found.template["outputs"] == WHOLE["outputs"]


async def _operations(clients, group, name):
    path = f"{clients.group(group)}/providers/Microsoft.Resources/deployments/{name}/operations"
    for entry in (await clients.raw("GET", path))[2]["value"]:
        yield entry


async def test_the_answers_have_arms_shape(clients, group):
    """201 for a new name, Azure-AsyncOperation, Accepted, then a status with nothing but its state;
    200 for a used name.
    """
    path = f"{clients.group(group)}/providers/Microsoft.Resources/deployments/one"
    body = asked(template([account()], NAME), name=f"st{group[3:]}")
    status, headers, sent = await clients.raw("PUT", path, body, version=VERSION)
    assert (status, sent["properties"]["provisioningState"]) == (201, "Accepted")
    assert sent["properties"]["providers"] == [
        {
            "namespace": "Microsoft.Storage",
            "resourceTypes": [{"resourceType": "storageAccounts", "locations": ["swedencentral"]}],
        }
    ]
    assert sent["properties"]["dependencies"] == []
    assert "location" not in sent
    where = headers["Azure-AsyncOperation"]
    assert f"{path}/operationStatuses/0" in where
    while (found := (await clients.raw("GET", where))[2])["status"] in {"Accepted", "Running"}:
        await asyncio.sleep(0.02)
    assert found == {"status": "Succeeded"}
    properties = (await clients.raw("GET", path))[2]["properties"]
    assert properties["duration"].startswith("PT")
    assert "outputs" not in properties
    assert (await clients.raw("PUT", path, body, version=VERSION))[0] == 200
    listed = (
        await clients.raw(
            "GET", path.rsplit("/", 1)[0], **{"$filter": "provisioningState eq 'Failed'"}
        )
    )[2]
    assert listed == {"value": []}


async def test_the_az_clis_body_is_read(clients, http, group):
    """`template:` without quotes, comments and line breaks, and an error that knows the line in
    them.
    """
    path = f"{clients.group(group)}/providers/Microsoft.Resources/deployments/cli/validate?api-version={VERSION}"
    token = (await clients.credential.get_token(f"{clients.azure.endpoint}/.default")).token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    text = json.dumps(template([account()], {"name": {"type": "string"}}), indent=2).replace(
        "\n", "\r\n  // well\r\n"
    )
    for given, wanted in (('{"name": {"value": "stcli"}}', 200), ("{}", 400)):
        data = (
            f'{{"properties": {{"parameters": {given}, "mode": "Incremental", template:{text}}}}}'
        )
        async with http.post(path, data=data.encode(), headers=headers) as answer:
            body = await answer.json()
            assert answer.status == wanted
    assert body["error"]["code"] == "InvalidTemplate"
    info = body["error"]["additionalInfo"][0]
    assert info["type"] == "TemplateViolation"
    assert info["info"]["path"] == "properties.template.parameters.name"
    line = data[: data.index('"name": {\r')].count("\n") + 1
    assert info["info"]["lineNumber"] == line
    assert f"at line '{line}' and column" in body["error"]["message"]


ACCOUNT = account()
WRONG = [
    (
        {"name": 3},
        [ACCOUNT],
        "Expected 'String, Uri'. Actual 'Integer'",
        "a parameter of another type",
    ),
    ({"name": "a"}, [ACCOUNT], "greater than or equal to '3'", "too short"),
    (
        {"name": "abc", "x": 1},
        [ACCOUNT],
        "'x' in the parameters file are not valid",
        "no such parameter",
    ),
    (
        {"name": None},
        [ACCOUNT],
        "The value of deployment parameter 'name'",
        "a null where none may be",
    ),
    ({}, [ACCOUNT], "The value for the template parameter 'name'", "a missing parameter"),
    (
        {"name": "abc"},
        [account("[variables('x')]")],
        "The template variable 'x' is not found",
        "an unknown variable",
    ),
    ({"name": "abc"}, [account("a/b")], "incorrect segment lengths", "a name of another depth"),
    ({"name": "abc"}, [ACCOUNT, ACCOUNT], "is defined multiple times", "the same resource twice"),
    (
        {"name": "abc"},
        [account(dependsOn=["nobody"])],
        "'nobody' is not defined in the template",
        "an unknown dependency",
    ),
    (
        {"name": "abc"},
        [account("aaa", dependsOn=["bbb"]), account("bbb", dependsOn=["aaa"])],
        "Circular dependency detected",
        "a circle",
    ),
    (
        {"name": "abc"},
        [account(name="[reference('/a/b', '2024-01-01').c]")],
        "'reference' is not expected at this location",
        "a name not known yet",
    ),
    ({"name": "abc"}, [account(condition="yes")], "must be a boolean", "a condition that is none"),
    (
        {"name": "abc"},
        [account(copy={"name": "c", "count": 801})],
        "cannot exceed '800'",
        "too many",
    ),
    (
        {"name": "abc"},
        [account(properties="[nonsense()]")],
        "The template function 'nonsense' is not valid",
        "an unknown function in a body",
    ),
    ({"name": "abc"}, [{"name": "x"}], "needs a 'type'", "half a resource"),
    ({"name": "abc"}, "none", "must be an array", "no resources at all"),
    ({"name": "abc"}, [account(copy={"count": {}})], "The copy count", "a count that is none"),
    (
        {"name": "abc"},
        [account(dependsOn=7)],
        "do not have the expected shape",
        "a number where an array belongs",
    ),
]


@pytest.mark.parametrize(
    ("given", "resources", "wanted", "reason"), WRONG, ids=[case[3] for case in WRONG]
)
async def test_a_wrong_template_is_refused(deployments, group, given, resources, wanted, reason):
    """Before anything is deployed, with ARM's code, sentence and place."""
    body = asked(template(resources, NAME), **given)
    with pytest.raises(HttpResponseError) as refused:
        await deploy(deployments, group, "wrong", body)
    assert refused.value.status_code == 400
    assert refused.value.error.code == "InvalidTemplate"
    assert wanted in refused.value.error.message, reason
    assert not await deployments.check_existence(group, "wrong")


async def test_a_type_that_is_not_here_is_not_implemented(deployments, group):
    """The local Azure never pretends: what it cannot make is 501 before anything is made."""
    body = asked(template([{**account("lb"), "type": "Microsoft.Network/loadBalancers"}]))
    with pytest.raises(HttpResponseError) as refused:
        await deploy(deployments, group, "network", body)
    assert refused.value.status_code == 501


async def test_a_failed_resource_fails_the_deployment(clients, deployments, group):
    """What does not hang on it is still made; the error has the provider's own, and the operations
    say which.
    """
    source = template(
        [
            account("NOT-A-NAME"),
            account("[concat('st', parameters('name'))]", tags={}),
            {
                "type": "Microsoft.Storage/storageAccounts/fileServices/shares",
                "apiVersion": "2024-01-01",
                "name": "NOT-A-NAME/default/s",
                "dependsOn": ["NOT-A-NAME"],
                "properties": {},
            },
        ],
        NAME,
    )
    with pytest.raises(HttpResponseError) as refused:
        await deploy(deployments, group, "half", asked(source, name=group[3:]))
    assert refused.value.error.code == "DeploymentFailed"
    assert [detail.code for detail in refused.value.error.details] == ["AccountNameInvalid"]
    found = await deployments.get(group, "half")
    assert found.properties.provisioning_state == "Failed"
    assert found.properties.error.details[0].target.endswith("/storageAccounts/NOT-A-NAME")
    assert await clients.storage.storage_accounts.get_properties(group, f"st{group[3:]}")
    steps = {
        one["properties"]["targetResource"]["resourceName"]: one["properties"]
        async for one in _operations(clients, group, "half")
    }
    assert steps["NOT-A-NAME"]["statusMessage"]["error"]["code"] == "AccountNameInvalid"
    assert steps["NOT-A-NAME"]["statusCode"] == "BadRequest"
    assert len(steps) == 2


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
