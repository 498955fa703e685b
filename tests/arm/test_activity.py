"""Who else wrote to a resource, from Azure's Activity Log."""

import uuid

import pytest

from reconciler.arm import activity, ids
from reconciler.arm.clients import OWN_REQUEST
from tests.arm.conftest import SUBSCRIPTION

APP = ids.app(SUBSCRIPTION, "rg", "web")
LOG = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values"


def event(minute, caller="ann@example.org", *, status="Succeeded", verb="write", own=False, **more):
    asked = f"{OWN_REQUEST}{str(uuid.uuid4())[9:]}" if own else str(uuid.uuid4())
    return {
        "caller": caller,
        "eventTimestamp": f"2026-11-29T10:{minute:02}:00.0000000Z",
        "operationName": {"value": f"Microsoft.App/containerApps/{verb}"},
        "status": {"value": status},
        "correlationId": f"c{minute}",
        "httpRequest": {"clientRequestId": asked, "method": "PATCH"},
        "resourceId": APP.upper(),
        **more,
    }


async def told(scripted, arm, events):
    scripted.on("GET", LOG, 200, {"value": events})
    return await activity.changes_since(arm, APP)


async def test_the_writes_of_others_since_our_last_one(scripted, arm):
    """Newest first, each once: not what failed, what only began, what changes nothing, what others
    did to another resource, nor what was there before our own last write.
    """
    found = await told(
        scripted,
        arm,
        [
            event(1, "before@example.org"),
            event(2, own=True),
            event(3),
            event(4, status="Accepted", correlationId="c5"),
            event(5),
            event(6, status="Failed"),
            event(7, verb="listSecrets/action"),
            event(8, resourceId=f"{APP}2"),
            event(9, "bob@example.org", httpRequest=None),
        ],
    )
    assert [(each.by, each.at[14:16]) for each in found.writes] == [
        ("bob@example.org", "09"),
        ("ann@example.org", "05"),
        ("ann@example.org", "03"),
    ]
    assert found.problem == ""
    asked = scripted.asked[-1][1]
    assert "api-version=2015-04-01" in asked
    assert "resourceUri" in asked
    assert "eventTimestamp" in asked


async def test_who_may_not_read_the_log_is_told(scripted, arm):
    """A 403 is no error: it says what is not known."""
    refusal = {"error": {"code": "AuthorizationFailed", "message": "No eventtypes for you."}}
    scripted.on("GET", LOG, 403, refusal)
    found = await activity.changes_since(arm, APP)
    assert found.writes == ()
    assert "eventtypes" in found.problem


@pytest.mark.parametrize(
    "strange",
    [
        {},
        event(1, operationName=None),
        event(1, operationName={"value": None}, status="x"),
        event(1, caller=None, correlationId=None, eventDataId="e1"),
        event(1, httpRequest={"clientRequestId": None}),
    ],
)
async def test_events_of_any_shape_are_read(scripted, arm, strange):
    """What others wrote into the log breaks nothing."""
    found = await told(scripted, arm, [strange, event(9)])
    assert found.writes[0].by == "ann@example.org"


async def test_only_a_few_pages_are_read(scripted, arm):
    """A log that never ends costs five requests."""
    scripted.on("GET", LOG, 200, {"value": [event(1)], "nextLink": f"{scripted.url}{LOG}?page=2"})
    await activity.changes_since(arm, APP)
    assert len(scripted.asked) == 5
