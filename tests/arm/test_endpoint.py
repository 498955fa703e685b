"""Whether an endpoint is reachable: the app must have answered, and the ingress does not count."""

import pytest

from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds.endpoint import reach

NO_APP = "Error 404 - This Container App is stopped or does not exist."
SPEC = ContainerAppSpec(
    "web", "rg", "dev", {"properties": {"configuration": {"ingress": {"external": True}}}},
    template={"scale": {"minReplicas": 1}}, suffix="r1", serves_model=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, "hello", "Reachable"),
        (404, "no such page", "Reachable"),
        (500, "the app's own fault", "Reachable"),
        (404, NO_APP, "Unreachable"),
        (404, {"error": {"code": 404, "message": NO_APP}}, "Unreachable"),
        (503, "upstream connect error", "Unreachable"),
    ],
)
async def test_only_the_apps_own_answer_counts(arm, scripted, status, body, reason):
    """Its errors too; but not the ingress's page for an app without an active revision."""
    scripted.on("GET", "/", status, body)
    mark = await reach(arm, SPEC, scripted.url)
    assert (mark.reason, mark.status) == (reason, str(reason == "Reachable"))
