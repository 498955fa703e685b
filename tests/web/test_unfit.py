"""What the page and the status say of a service with an adapter that cannot be served."""

from reconciler.api.conditions import ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.reasons import Reason
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.web.status import status_of
from tests.web.worlds import World


def test_an_adapter_that_never_served_is_no_model_and_the_rest_of_the_document_is_applied():
    """Said of the adapter alone, with its line; of the document nothing else is wrong."""
    world = World()
    world.service("phi")
    ref, said = DocumentRef("InferenceService", "phi"), "m.yaml:9:7: adapter 'sales' is torn"
    unfit = (Status.FALSE, Reason.ADAPTER_FAILED, said)
    world._conditions(
        ref,
        {
            ConditionType.READY: (Status.TRUE, Reason.ALL_GOOD, ""),
            ConditionType.SYNCED: unfit,
            ConditionType.STALLED: (Status.TRUE, Reason.ADAPTER_FAILED, said),
        },
    )
    app = ObjectKey(Kind.APP, "phi")
    record = next(each for each in world.store.objects() if each.key == app)
    for replica in record.outputs["replicas"]:
        replica["adapters"][1] |= {"digest": None, "state": "Failed"}
    world.store.put_object(record)
    document = world.look().find("InferenceService", "phi")
    assert document.verdict == (
        "phi serves support@3f9c on 2 of 2 replicas; not all adapters are as the document says:"
        " m.yaml:9:7: adapter 'sales' is torn."
    )
    status = status_of(world.store, "local", {})["documents"]
    listed = next(each["models"] for each in status if each["name"] == "phi")
    assert document.models == tuple(listed) == ("phi", "support")
