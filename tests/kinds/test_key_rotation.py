"""`moorage key --rotate`: an order names the key that is refused, so that it is kept whatever ends in
between, and asks for nothing more once the key is another.
"""

import hashlib
import json

from reconciler.api.resources import ContainerAppSpec
from reconciler.engine.database import MEMORY
from reconciler.engine.external import Origin
from reconciler.engine.store import Store
from reconciler.kinds.service import api_keys
from reconciler.sources.orders import order_rotation

OLD, OTHER = "mk-old-value", "mk-other-value"
HASHES = api_keys.hashes({"api-key-default": OLD, "api-key-team": OTHER, "hub": "x"})
FOUND = {
    "properties": {
        "configuration": {
            "secrets": [{"name": "api-key-default"}, {"name": "api-key-team"}, {"name": "hub"}]
        }
    }
}
VALUES = {"api-key-default": OLD, "api-key-team": OTHER, "hub": "x"}


def spec(*rotated):
    return ContainerAppSpec(
        "phi", "rg", "default", {}, key_names=("default", "team"), rotated=rotated
    )


def sha(value):
    return hashlib.sha256(value.encode()).hexdigest()


def test_a_refused_key_is_a_change_and_shows_no_value():
    """One hot change for that key, none for the others, and neither value in it."""
    (change,) = api_keys.rotations(spec(("default", sha(OLD))), HASHES)
    assert change.path == "configuration.secrets[api-key-default]"
    assert change.effect == "hot"
    assert OLD not in str(change)
    assert sha(OLD) not in str(change)


def test_the_write_replaces_that_key_alone():
    """The others, and secrets that are nobody's of ours, keep their values."""
    written = api_keys.written(spec(("default", sha(OLD))), FOUND, Origin.OURS, VALUES)
    values = {each["name"]: each["value"] for each in written}
    assert values["api-key-default"].startswith("mk-")
    assert values["api-key-default"] != OLD
    assert (values["api-key-team"], values["hub"]) == (OTHER, "x")


def test_an_order_that_was_carried_out_asks_for_nothing():
    """After a restart the order is still there, and the new key is kept."""
    ordered = spec(("default", sha("a key before this one")))
    assert api_keys.rotations(ordered, HASHES) == ()
    values = {
        each["name"]: each["value"]
        for each in api_keys.written(ordered, FOUND, Origin.OURS, VALUES)
    }
    assert values["api-key-default"] == OLD


def test_orders_of_several_keys_stand_beside_each_other():
    """A later order for the same key takes the place of the earlier."""
    store = Store.open(MEMORY, "local")
    order_rotation(store, "phi", "default", "1", 1.0)
    order_rotation(store, "phi", "team", "2", 2.0)
    order_rotation(store, "phi", "default", "3", 3.0)
    assert json.loads(store.get("rotation phi")) == {"default": "3", "team": "2"}
    assert store.get("approvals") == "3.0"
