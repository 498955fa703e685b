"""What `moorage down` tells: what goes, and at the end what stays."""

from types import SimpleNamespace

import pytest

from reconciler.api.kinds import Kind
from reconciler.cli.down import _watcher
from reconciler.engine.external import ObjectKey
from reconciler.engine.record import Phase
from reconciler.engine.result import Outcome


@pytest.mark.parametrize("kind", list(Kind))
def test_data_that_stays_is_not_told_object_by_object(kind):
    """The last line names what stays; an app that a document retains is told."""
    told = []
    saw = _watcher(SimpleNamespace(saw=lambda *said: told.append(said)))
    saw(ObjectKey(kind, "web"), Outcome(Phase.RETAINED, message="is left in place"), 0.0)
    saw(ObjectKey(kind, "web"), Outcome(Phase.DELETED, message="deleted"), 0.0)
    assert len(told) == (1 if kind.holds_data else 2)
