"""What a write to a container app says of itself in a plan."""

import pytest

from reconciler.composition.template import suffix
from reconciler.kinds.app_write import why_again

OURS = suffix({"containers": []}, "Consumption")


@pytest.mark.parametrize(
    ("latest", "wanted", "said"),
    [
        ("web--3mez38u", None, "somebody else made it"),
        ("web", None, "somebody else made it"),
        (f"web--{OURS}", None, "new revision"),
        (f"web--{OURS}", object(), "was given up"),
    ],
    ids=["a random name", "no revision", "another secret", "asked for again"],
)
def test_a_template_that_is_there_already_boots_again_for_a_reason(latest, wanted, said):
    """Nobody else is blamed where a secret or the profile is another."""
    told = why_again({"properties": {"latestRevisionName": latest}}, wanted)
    assert told.startswith("new revision")
    assert told.endswith(said)
