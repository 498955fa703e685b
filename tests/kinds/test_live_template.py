"""Which of an app's templates is compared with its document."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.engine.external import Change
from reconciler.kinds.service import live_template
from reconciler.kinds.service.rollout import Action, Step

OURS, GIVEN_UP, THEIRS = "web--r000000001", "web--r000000002", "web--x7abcde"
ID = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.App/containerapps/web"
IMAGE, MOST = "properties.template.containers[app].image", "properties.template.scale.maxReplicas"


def template(image: str, most: int, **scale: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": image}]
    return {"containers": containers, "scale": {"maxReplicas": most, **scale}}


REVISIONS = {
    OURS: template("good", 1),
    GIVEN_UP: template("bad", 1),
    THEIRS: template("bad", 2),
}


def azure(*, newest: str, serves: str, revisions: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """The client, and an app whose newest revision is `newest` while `serves` has the traffic."""
    suffix = "" if newest == THEIRS else newest.rpartition("--")[2]
    own = {**template("", 0), **REVISIONS[newest], "revisionSuffix": suffix}
    own["scale"] = {**own["scale"], "cooldownPeriod": 600}
    ingress = {"traffic": [{"revisionName": serves, "weight": 100}]}
    properties = {
        "latestRevisionName": newest,
        "template": own,
        "configuration": {"ingress": ingress},
    }

    async def listed(*_: Any) -> list[dict[str, Any]]:
        return [{"name": each, "properties": {"template": REVISIONS[each]}} for each in revisions]

    arm = SimpleNamespace(subscription_id="0", inventory=SimpleNamespace(list=listed))
    return arm, {"id": ID, "name": "web", "properties": properties}


def step(action: Action, *revisions: str) -> Step:
    return Step(action, revisions)


@pytest.mark.parametrize(
    ("newest", "serves", "step", "found"),
    [
        (OURS, OURS, step(Action.WRITE), {IMAGE: "good", MOST: 1}),
        (GIVEN_UP, OURS, step(Action.WRITE), {IMAGE: "good", MOST: 1}),
        (GIVEN_UP, OURS, step(Action.DEACTIVATE, GIVEN_UP), {IMAGE: "good", MOST: 1}),
        (GIVEN_UP, GIVEN_UP, step(Action.ACTIVATE, OURS), {IMAGE: "bad", MOST: 1}),
        (THEIRS, OURS, step(Action.WRITE), {IMAGE: "good", MOST: 1}),
        (THEIRS, OURS, step(Action.DEACTIVATE, THEIRS), {MOST: 2}),
        (THEIRS, THEIRS, step(Action.WRITE), {IMAGE: "bad", MOST: 2}),
        (THEIRS, "web--gone", step(Action.WRITE), {IMAGE: "bad", MOST: 2}),
        (GIVEN_UP, OURS, step(Action.SHIFT, OURS), {}),
        (GIVEN_UP, OURS, step(Action.HOLD, GIVEN_UP, OURS), {}),
    ],
    ids=[
        "it serves",
        "after a rollback",
        "as a rollback ends",
        "going back",
        "beside somebody's revision",
        "somebody's revision on one that was given up",
        "somebody's revision serves",
        "nothing serves",
        "traffic",
        "a decision",
    ],
)
async def test_what_serves_is_compared(newest, serves, step, found):
    """Or the revision of somebody else that is stopped: of that only what they changed."""
    arm, app = azure(newest=newest, serves=serves, revisions=(OURS, GIVEN_UP, THEIRS))
    spec: Any = SimpleNamespace(template=template("new", 3, cooldownPeriod=600))
    told = await live_template.reported_changes(arm, spec, app, step)
    assert {each.path: each.before for each in told} == found


async def test_the_app_is_shown_with_the_template_that_was_compared():
    """So that `accept` takes the value that `diff` showed."""
    arm, app = azure(newest=THEIRS, serves=OURS, revisions=(OURS, GIVEN_UP, THEIRS))
    stopped = (Change(f"revisions[{THEIRS}].active", True, False),)
    for changes, image in (((), "good"), (stopped, "bad")):
        shown = await live_template.live_app(arm, app, changes)
        assert shown["properties"]["template"]["containers"][0]["image"] == image
        assert shown["properties"]["configuration"] == app["properties"]["configuration"]
