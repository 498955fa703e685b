"""What a write to a container app says of itself in a plan."""

from types import SimpleNamespace

import pytest

from reconciler.api.resources import ContainerAppSpec, ShareRef
from reconciler.composition.template import suffix
from reconciler.engine.external import Change, Impact, Origin
from reconciler.engine.rules import IN_PLACE
from reconciler.kinds.service.app_write import CLOSED, EXTERNAL, NO_STEP, decide, why_again
from reconciler.kinds.service.rollout import Action, Step

SPEC = ContainerAppSpec(
    "web",
    "rg",
    "dev",
    {},
    service="web",
    template={},
    suffix="r1",
    share=ShareRef("dev", "rg", "st", "share"),
    deadline_seconds=60,
)
FOUND = {"name": "web", "properties": {"configuration": {}, "template": {}}}
OURS = suffix({"containers": []}, "Consumption")


@pytest.mark.parametrize(
    ("latest", "suffix", "wanted", "said"),
    [
        ("web--3mez38u", "", None, "somebody else made it"),
        ("web", None, None, "somebody else made it"),
        (f"web--{OURS}", OURS, None, "new revision"),
        (f"web--{OURS}", OURS, object(), "was given up"),
        ("web--r000000000", OURS, None, "Azure refused the last one with this template"),
        (None, OURS, None, "Azure refused the last one with this template"),
    ],
    ids=[
        "a random name",
        "no revision",
        "another secret",
        "asked for again",
        "refused",
        "refused at the creation",
    ],
)
def test_a_template_that_is_there_already_boots_again_for_a_reason(latest, suffix, wanted, said):
    """Nobody else is blamed where a secret or the profile is another, or Azure refused it."""
    properties = {"latestRevisionName": latest, "template": {"revisionSuffix": suffix}}
    told = why_again({"name": "web", "properties": properties}, wanted)
    assert told.startswith("new revision")
    assert told.endswith(said)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(True, False, CLOSED), (False, True, IN_PLACE), (None, False, IN_PLACE)],
    ids=["closed", "opened", "of an app without ingress"],
)
def test_an_ingress_that_becomes_internal_says_whom_it_cuts_off(before, after, said):
    """The field alone tells a person nothing of the callers that lose the service."""
    change = Change(EXTERNAL, before, after)
    seen = SimpleNamespace(revisions=())
    write = decide(SPEC, FOUND, Origin.OURS, seen, NO_STEP, (change,))
    assert [each.effect for each in write.changes] == [said]


def test_each_field_for_which_the_old_revision_stops_first_is_a_restart():
    """Not only the revision's switch: whoever reads one field learns that nobody serves."""
    stop = Step(Action.DEACTIVATE, ("web--old",))
    field = Change("properties.template.containers[app].env[A].value", "1", "2")
    seen = SimpleNamespace(revisions=(), wanted=None)
    write = decide(SPEC, FOUND, Origin.OURS, seen, stop, (), template=(field,))
    assert [each.impact for each in write.changes] == [Impact.RESTART] * 2
    assert {each.effect for each in write.changes} == {
        "no replica serves until the new revision is ready, at most 60 s"
    }
