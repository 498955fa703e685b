"""What Azure says is ours: a gateway's container app is its Environment's, and no service's."""

import pytest

from reconciler.api import tags
from reconciler.api.kinds import Kind
from reconciler.arm.ownership import Ownership
from reconciler.engine.external import DocumentRef
from reconciler.sources.owned import Owned, document_of, homes, orphans


def app(name, document):
    path = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.App/containerApps"
    labels = tags.ownership("team", document, "dev")
    resource = {"id": f"{path}/{name}", "name": name, "tags": labels}
    return Owned(Kind.APP, resource, DocumentRef(*document.split("/")), "dev")


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("InferenceService/phi", ("InferenceService", "phi")),
        *((spoilt, None) for spoilt in ("x", "", "/", "InferenceService/", "/phi", None)),
    ],
)
def test_a_tag_that_somebody_spoilt_names_no_document(text, document):
    """Anybody with rights may write it, on any resource of the subscription."""
    resource = app("phi", "InferenceService/phi").resource
    found = {**resource, "tags": {**resource["tags"], tags.DOCUMENT: text}}
    assert document_of(found) == document


def test_a_gateway_is_known_by_its_own_name():
    """It is found again under the key that the documents give it, or a restart would delete it."""
    ours = Ownership("team")
    found = [app("gw-dev", "Environment/dev"), app("phi", "InferenceService/phi")]
    assert homes(found, ours) == {"phi": "dev"}
    assert [str(gone.key) for gone in orphans(found, ours)] == [
        "ContainerApp/gw-dev",
        "ContainerApp/phi",
    ]
