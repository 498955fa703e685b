"""A person goes back to an earlier generation, and it is held like any other rollback."""

import pytest

from tests.e2e.stage import ask, service


def document(colour):
    return service("web", env=[{"name": "COLOUR", "value": colour}])


@pytest.fixture(scope="module")
def history(stage):
    """A service in its third generation."""
    stage.code("web")
    for colour in ("red", "green", "blue"):
        stage.save(document(colour))
        stage.once("-y")
    return stage


def served(stage):
    found = stage.document("web")
    synced = next(c for c in found["conditions"] if c["type"] == "Synced")
    return ask(found["endpoint"], stage.ca)["colour"], synced["status"], synced["reason"]


def test_any_kept_generation_can_serve_again(history):
    """`--to` names it by number; the document's version is held over restarts, and another spec
    ends that.
    """
    listed = history.json("history", "web")["generations"]
    assert [each["generation"] for each in listed] == [3, 2, 1]
    history.moorage("rollback", "web", "--to", "1")
    history.once("-y", code=4)
    assert served(history) == ("red", "False", "RolledBack")
    history.once("-y", code=4)
    held = history.json("history", "web")
    assert "moorage rollback" in held["held"]
    assert "change its document first" in history.moorage("rollback", "web", code=1).stderr
    history.save(document("green"))
    history.once("-y")
    assert served(history) == ("green", "True", "InSync")
    history.save(document("blue"))
    history.once("-y")
    assert served(history) == ("blue", "True", "InSync"), "the order was for the time before"
    history.moorage("rollback", "web")
    history.once("-y", code=4)
    assert served(history)[0] == "green", "without --to: the one before"


def test_what_is_no_generation_is_refused(history):
    """A mistake is told with what lists the right ones, and changes nothing."""
    history.save(document("red"))
    history.once("-y")
    assert "moorage history" in history.moorage("rollback", "web", "--to", "99", code=2).stderr
    assert "There is no service 'nobody'" in history.moorage("rollback", "nobody", code=1).stderr
    assert "There is no service 'nobody'" in history.moorage("history", "nobody", code=1).stderr
