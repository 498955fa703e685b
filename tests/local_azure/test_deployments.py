"""Template deployments through the real SDK: create, validate, what-if, outputs, modes, nesting,
failures, cancel, survival.
"""

import asyncio
import json

import pytest
from azure.core.exceptions import HttpResponseError

from tests.local_azure.deployment_templates import (  # noqa: F401 - fixtures
    NAME,
    VERSION,
    WHOLE,
    account,
    asked,
    deploy,
    deployments,
    group,
    template,
)


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
