"""After a rollback Azure keeps the template that was given up as the app's. Documents are compared
with what serves, and what somebody else changes after that is told without what they did not change.
"""

import json

import pytest

from tests.e2e.outside import outside
from tests.e2e.test_accept import APP, GROUP, TEXT
from tests.e2e.test_rollout_rollback import ANSWERS_500

GOOD = TEXT.replace("  targetPort", "  env: [{name: COLOUR, value: green}]\n  targetPort")
BAD = GOOD.replace('["python3", "app.py", "9000"]', json.dumps(ANSWERS_500)).replace("green", "red")
NEXT = GOOD.replace("green", "blue")
CONTAINER = "properties.template.containers[app]"
MOST = "properties.template.scale.maxReplicas"


def differing(stage):
    """The paths that `diff` shows, with what is found there."""
    told = stage.moorage("diff", "web", "-f", str(stage.manifest), "-o", "json").stdout
    return {each["path"]: each["found"] for each in json.loads(told)["changes"]}


def accept(stage, code=0):
    return stage.moorage("accept", "web", "-y", "-f", str(stage.manifest), code=code)


@pytest.mark.slow
async def test_what_serves_is_compared_after_a_rollback(make_stage):
    """`diff` shows the document against the revision that serves, `accept` writes that back, and
    the next version is planned from it; a person's revision is told by what the person changed.
    """
    stage = make_stage()
    stage.code("web")
    stage.save_text(GOOD)
    stage.once("-y")
    stage.save_text(BAD)
    stage.once("-y", code=1)
    found = differing(stage)
    assert {path.partition("command")[0] for path in found} == {
        f"{CONTAINER}.",
        f"{CONTAINER}.env[COLOUR].value",
    }
    assert found[f"{CONTAINER}.env[COLOUR].value"] == "green"
    accept(stage)
    assert stage.manifest.read_text() == GOOD
    stage.save_text(NEXT)
    assert differing(stage) == {f"{CONTAINER}.env[COLOUR].value": "green"}
    stage.save_text(BAD)
    scale = {"minReplicas": 1, "maxReplicas": 2}
    patch = {"properties": {"template": {"revisionSuffix": None, "scale": scale}}}
    async with outside(stage) as azure:
        await (await azure.apps.container_apps.begin_update(GROUP, APP, patch)).result()
    found = differing(stage)
    (theirs,) = (path for path in found if path.startswith("revisions["))
    assert found == {MOST: 2, theirs: True}
    stage.save_text(GOOD)
    accept(stage)
    assert stage.manifest.read_text() == GOOD.replace("maxReplicas: 1", "maxReplicas: 2")
