"""What objects know of each other, with two workers at work."""

from reconciler.engine.external import Observation
from reconciler.engine.facts import FactBook, View
from tests.engine.conftest import ThingOutputs, key


def test_a_pass_that_read_what_has_changed_meanwhile_is_outdated():
    """The pass over an app read the catalogue, which changed before the pass ended: what it saw may
    not have followed. The next pass reads it again.
    """
    book, app, catalogue = FactBook(lambda _key: {}), key("app"), key("catalogue")

    def see(generation):
        outputs = ThingOutputs({"generation": generation})
        return book.see(catalogue, Observation(True, outputs=outputs))

    see(1)
    book.begin(app)
    View(book, app).last(catalogue, ThingOutputs)
    assert not book.outdated(app, [catalogue])
    assert see(1) == set()
    assert not book.outdated(app, [catalogue])
    assert see(2) == {app}
    assert book.outdated(app, [catalogue])
    assert not book.outdated(app, [])
    book.begin(app)
    assert not book.outdated(app, [catalogue])
    View(book, app).last(catalogue, ThingOutputs)
    assert not book.outdated(app, [catalogue])
