"""Which generation `moorage rollback` goes back to."""

import pytest

from reconciler.api.outputs import AppOutputs, ArmView, Revision
from reconciler.cli.exits import CommandError
from reconciler.cli.rollback import _chosen
from reconciler.web.generations import History


def history():
    one = Revision("web--r1", False, 0, "Healthy", "Stopped", 0)
    two = Revision("web--r2", False, 0, "Unhealthy", "Stopped", 0)
    three = Revision("web--r3", True, 100, "Healthy", "Running", 1)
    return History(AppOutputs(asked_revision="web--r3", arm=ArmView((one, two, three))))


@pytest.mark.parametrize("to", ["", "1", "web--r1", "r1"])
def test_a_generation_that_served_is_gone_back_to(to):
    """Named in any way; without a name the newest that served."""
    assert _chosen(history(), to).revision == "web--r1"


@pytest.mark.parametrize("to", ["2", "r2"])
def test_a_generation_that_failed_is_refused(to):
    """No replica would serve, and a person's decision holds until the document changes."""
    with pytest.raises(CommandError, match="failed when it last ran"):
        _chosen(history(), to)
