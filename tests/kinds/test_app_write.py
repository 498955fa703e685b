"""What a write to a container app says of itself in a plan."""

import pytest

from reconciler.composition.template import suffix
from reconciler.kinds.service.app_write import why_again

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
