"""What a person reads before an approval on the page, where the daemon knows the class of each
field.
"""

from dataclasses import replace

import pytest

from reconciler.engine.external import Impact, Policy
from reconciler.engine.record import AskedChange
from reconciler.web.effects import approval_effects
from tests.web.worlds import World

NEW_IMAGE = AskedChange("image: a -> b", Impact.NEW_REVISION, "new revision")
TAG = AskedChange("tags.a: 1 -> 2", Impact.CONFIGURATION, "update in place")
STOP = AskedChange("image: a -> b", Impact.RESTART, "no replica serves for 9 s")


@pytest.mark.parametrize(
    ("asks", "stops", "said", "fields"),
    [
        (
            (NEW_IMAGE, TAG),
            False,
            "phi is changed: new revision. phi keeps serving while the new revision starts",
            ("image: a -> b", "tags.a: 1 -> 2   (configuration)"),
        ),
        ((TAG,), False, "configuration. phi keeps serving.", ("tags.a: 1 -> 2",)),
        (
            (STOP,),
            True,
            "restart. phi stops serving: no replica serves for 9 s.",
            ("image: a -> b",),
        ),
    ],
    ids=["a revision", "no revision", "a gap"],
)
def test_an_approval_says_the_class_of_each_field(asks, stops, said, fields):
    """As the daemon found it, which knows whether the old revision stops first."""
    world = World()
    world.service("phi", "manual")
    record = next(r for r in world.store.objects() if r.policy is Policy.ASK)
    world.store.put_object(replace(record, asks=asks))
    view = world.look()
    (effect,) = approval_effects(view, view.find("InferenceService", "phi"), "Recreate")
    assert (effect.stops, effect.changes) == (stops, fields)
    assert said in effect.text
