"""`moorage import azure`: documents for what is in a resource group, when they are lost."""

import json

import pytest

from reconciler.api.tags import DOCUMENT, ENVIRONMENT, OWNER
from tests.e2e.outside import outside
from tests.e2e.stage import environment, service

GROUP, MANAGED = "rg-import", "cae-import"
# As the az CLI makes one: a secret that a variable reads, an image alone.
FOREIGN = {
    "location": "westus3",
    "properties": {
        "configuration": {
            "secrets": [{"name": "token", "value": "not to be written"}],
            "ingress": {"external": True, "targetPort": 80},
        },
        "template": {
            "containers": [
                {
                    "name": "theirs",
                    "image": "docker.io/library/python:3.11-slim",
                    "env": [{"name": "TOKEN", "secretRef": "token"}],
                    "resources": {"cpu": 0.25, "memory": "0.5Gi"},
                }
            ],
            "scale": {"minReplicas": 0, "maxReplicas": 1},
        },
    },
}


@pytest.fixture(scope="module")
async def made(stage):
    """Two services of Moorage with everything that an app without a model can have, their gateway,
    and an app of somebody else in their environment.
    """
    for name in ("web", "api"):
        stage.code(name)
    stage.save(
        environment(
            "dev",
            resourceGroup=GROUP,
            location="westus3",
            tags={"team": "red & blue"},
            managedEnvironment={"name": MANAGED},
            gateway={"hold": {"seconds": 90}, "apiKeys": [{"name": "team"}], "external": False},
            storage={"quotaGiB": 50},
            logAnalytics={"retentionInDays": 60},
            workloadProfiles=[
                {"name": "big", "workloadProfileType": "D4", "minimumCount": 0, "maximumCount": 1}
            ],
        ),
        service("web", environment="dev", env=[{"name": "COLOUR", "value": "it's: green"}]),
        service(
            "api",
            environment="dev",
            mountPath="/srv/code",
            mounts=[{"source": "./code-web", "mountPath": "/srv/web"}],
            args=["--x", "9"],
            resources={"cpu": 1.0, "memory": "2Gi"},
            progressDeadlineSeconds=500,
            ingress={"external": False},
        ),
    )
    stage.once("-y")
    async with outside(stage) as azure:
        home = await azure.get(
            f"/resourceGroups/{GROUP}/providers/Microsoft.App/managedEnvironments/{MANAGED}"
        )
        body = {**FOREIGN, "properties": {**FOREIGN["properties"], "environmentId": home["id"]}}
        await (
            await azure.apps.container_apps.begin_create_or_update(GROUP, "theirs", body)
        ).result()
    return stage


async def test_planning_the_documents_changes_nothing(made, tmp_path):
    """Also on a machine that knows nothing else; what has no document is named and left alone."""
    folder = tmp_path / "documents"
    before = len(made.journal())
    ended = made.moorage("import", "azure", GROUP, "--out", str(folder))
    assert f"wrote {folder / 'dev.yaml'}" in ended.stdout
    assert "? theirs has no document: somebody else made it" in ended.stdout
    assert "# theirs has no document: somebody else made it" in (folder / "dev.yaml").read_text()
    assert "gateway: {external: false, hold: {seconds: 90}" in (folder / "dev.yaml").read_text()
    assert "has nothing to do" in ended.stdout
    assert "not to be written" not in ended.stdout + (folder / "dev.yaml").read_text()
    state = tmp_path / "state"
    state.mkdir()
    (state / "local-azure").symlink_to(made.state / "local-azure")
    told = made.moorage(
        "plan", "-f", str(folder), "-o", "json", "--detailed-exitcode", MOORAGE_STATE_DIR=str(state)
    )
    changes = json.loads(told.stdout)["changes"]
    assert {change["action"] for change in changes} == {"no-op"}
    assert {change["document"] for change in changes} == {
        "Environment/dev",
        "InferenceService/web",
        "InferenceService/api",
    }
    assert made.writes(since=before) == []


async def test_a_share_is_read_for_the_owner_that_the_documents_give(made, tmp_path):
    """A machine that knows nothing else reads a model on the share of documents with an owner. It
    took the share for another set's.
    """
    folder = tmp_path / "documents"
    made.moorage("import", "azure", GROUP, "--out", str(folder))
    more = {
        "apiVersion": "moorage.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "phi"},
        "spec": {"environment": "dev", "model": {"source": "share://models/none"}},
    }
    (folder / "phi.yaml").write_text(json.dumps(more))
    state = tmp_path / "state"
    state.mkdir()
    (state / "local-azure").symlink_to(made.state / "local-azure")
    told = made.moorage("plan", "-f", str(folder), MOORAGE_STATE_DIR=str(state), code=None).stdout
    assert "InferenceService/phi" in told
    assert "share://models/none" in told
    assert "OwnedByAnother" not in told


async def test_a_file_is_never_replaced(made, tmp_path):
    """Code 2, and what it held stays."""
    (tmp_path / "dev.yaml").write_text("mine")
    ended = made.moorage("import", "azure", GROUP, "--out", str(tmp_path), code=2)
    assert "is not replaced" in ended.stderr
    assert (tmp_path / "dev.yaml").read_text() == "mine"


async def test_what_is_of_another_set_or_elsewhere_is_named(made, tmp_path):
    """An app that another set made in our environment, and one whose environment is in another
    group. The name of a group is written as Azure spells it.
    """
    async with outside(made) as azure:
        path = f"/resourceGroups/{GROUP}/providers/Microsoft.App/managedEnvironments/{MANAGED}"
        home = (await azure.get(path))["id"]
        await azure.resources.resource_groups.create_or_update("rg-other", {"location": "westus3"})
        tags = {OWNER: "another", DOCUMENT: "InferenceService/guest", ENVIRONMENT: "dev"}
        for group, name in ((GROUP, "guest"), ("rg-other", "lodger")):
            body = {**FOREIGN, "tags": tags}
            body["properties"] = {**FOREIGN["properties"], "environmentId": home}
            await (
                await azure.apps.container_apps.begin_create_or_update(group, name, body)
            ).result()
    ended = made.moorage("import", "azure", GROUP.upper(), "--out", str(tmp_path / "one"))
    assert "? guest has no document: it belongs to the set another" in ended.stdout
    assert "has nothing to do" in ended.stdout
    assert f"resourceGroup: {GROUP}\n" in (tmp_path / "one" / "dev.yaml").read_text()
    ended = made.moorage("import", "azure", "rg-other", "--out", str(tmp_path / "two"), code=1)
    assert f"? lodger has no document: its environment is in the resource group {GROUP}" in (
        ended.stdout
    )


async def test_a_group_that_is_not_there(made, tmp_path):
    """Code 2; and a word after a project's folder is one too many."""
    ended = made.moorage("import", "azure", "rg-none", "--out", str(tmp_path), code=2)
    assert "There is no resource group rg-none" in ended.stderr
    assert "one word too many" in made.moorage("import", "./x", "rg", code=2).stderr
