"""Which generation `moorage rollback` goes back to."""

from dataclasses import replace

import pytest

from reconciler.api.outputs import AppOutputs, ArmView, Revision
from reconciler.cli.exits import CommandError
from reconciler.cli.rollback import _chosen
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import ObjectRecord
from reconciler.engine.waiting import Waiting
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


@pytest.mark.parametrize(("to", "found"), [("", "web--r1"), ("r1", "web--r1"), ("r3", None)])
def test_what_serves_is_not_gone_back_to_while_a_change_waits(to, found):
    """Nothing has replaced it yet; a revision that Azure refused has."""
    there = history()
    there = replace(there, app=replace(there.app, asked_revision="web--r4"))
    ref = DocumentRef("InferenceService", "web")
    waits = Waiting(ref, 2, changes=(ObjectRecord(ObjectKey("ContainerApp", "web"), ref),))
    assert _chosen(there, "r3").revision == "web--r3"
    if found:
        assert _chosen(there, to, waits).revision == found
    else:
        with pytest.raises(CommandError, match="no generation 'r3' to go back to"):
            _chosen(there, to, waits)


@pytest.mark.parametrize("to", ["2", "r2"])
def test_a_generation_that_failed_is_refused(to):
    """No replica would serve, and a person's decision holds until the document changes."""
    with pytest.raises(CommandError, match="failed when it last ran"):
        _chosen(history(), to)
