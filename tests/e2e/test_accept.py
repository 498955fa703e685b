"""Somebody else changes a service in Azure: a document that observes tells it and writes nothing, and
`moorage accept` writes what is there into the document.
"""

import json

import pytest

from tests.e2e.outside import outside
from tests.e2e.stage import condition_of

GROUP, APP = "rg-accept", "web"
TEXT = """\
apiVersion: moorage.dev/v1alpha1
kind: Environment
metadata: {name: dev}
spec: {resourceGroup: rg-accept}   # ours
---
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {name: web}
spec:
  environment: dev
  code: ./code-web
  command: ["python3", "app.py", "9000"]
  targetPort: 9000
  scale: {minReplicas: 1, maxReplicas: 1}
  terminationGracePeriodSeconds: 2
  ingress:
    external: true      # for everyone
"""
OBSERVED = TEXT.replace("environment: dev", "environment: dev\n  reconcilePolicy: Observe")
EXTERNAL = "properties.configuration.ingress.external"


@pytest.fixture(scope="module")
async def changed(stage):
    """A service that somebody hid from the internet while its document observes."""
    stage.code("web")
    stage.save_text(TEXT)
    stage.once("-y")
    stage.save_text(OBSERVED)
    async with outside(stage) as azure:
        ingress = {"external": False, "targetPort": 9001}
        patch = {"properties": {"configuration": {"ingress": ingress}}}
        await (await azure.apps.container_apps.begin_update(GROUP, APP, patch)).result()
    return stage


def accept(stage, *arguments, code=0):
    return stage.moorage("accept", "web", *arguments, "-f", str(stage.manifest), code=code)


async def test_a_document_that_observes_writes_nothing_and_tells_who(changed):
    """`up` reports the drift, and `diff` who changed the field and when."""
    before = len(changed.journal())
    changed.once("-y", code=None)
    assert [e for e in changed.writes(since=before) if e["plane"] == "arm"] == []
    (found,) = [d for d in changed.json("status")["documents"] if d["name"] == "web"]
    assert condition_of(found, "Drifted")["status"] == "True"
    assert EXTERNAL in condition_of(found, "Drifted")["message"]
    told = changed.moorage("diff", "web", "-f", str(changed.manifest), "-o", "json").stdout
    value = json.loads(told)
    assert value["activityLog"] is None
    changes = {each["path"]: each for each in value["changes"]}
    (who,) = changes[EXTERNAL]["changedBy"]
    assert who["by"] == changed.azure("start")["clientId"]
    assert who["operation"] == "Microsoft.App/containerApps/write"


async def test_one_path_is_accepted_and_the_rest_stays(changed):
    """The file differs in that value alone, its mode stays, and the plan has nothing more to say of
    the path.
    """
    changed.manifest.chmod(0o640)
    shown = accept(changed, EXTERNAL, code=4)
    assert "-    external: true      # for everyone" in shown.stdout
    assert changed.manifest.read_text() == OBSERVED
    told = json.loads(accept(changed, "spec.ingress", "-y", "-o", "json").stdout)
    assert told["written"] is True
    assert [each["field"] for each in told["accepted"]] == ["spec.ingress.external"]
    assert [path.split()[1] for path in told["remaining"]] == [
        "properties.configuration.ingress.targetPort"
    ]
    now = OBSERVED.replace("external: true ", "external: false ")
    assert changed.manifest.read_text() == now
    assert changed.manifest.stat().st_mode & 0o777 == 0o640
    accept(changed, "-y")
    assert changed.manifest.read_text() == now.replace("targetPort: 9000", "targetPort: 9001")


async def test_what_does_not_differ_cannot_be_accepted(changed):
    """With code 2, and the paths that do."""
    ended = accept(changed, "spec.env", "-y", code=2)
    assert "spec.env does not differ in InferenceService/web" in ended.stderr
