"""What Azure wraps around a refusal does not reach a reader; what it is about does."""

from reconciler.api.reasons import Reason
from reconciler.web.axes import PlainCause
from reconciler.web.azure_words import plain
from reconciler.web.wording import brief

RAW = (
    "Failed to provision revision for container app 'echo'. Error details: The following field(s)"
    " are either invalid or missing. Field 'template.containers.app.image' is invalid with details:"
    " 'Invalid value: \"ghcr.io/a/b:1\": GET https:: MANIFEST_UNKNOWN: manifest unknown';. Correct it"
)
SAID = (
    'template.containers.app.image: "ghcr.io/a/b:1": GET https:: MANIFEST_UNKNOWN: manifest unknown'
)


def test_a_refused_field_is_its_name_and_what_is_wrong():
    """Also of several; what has another form stays as it is, also where it was cut off."""
    assert plain(RAW) == f"{SAID}. Correct it"
    assert plain("it's down") == "it's down"
    assert plain(RAW[:150]) == "Field 'template.containers"
    cut = f"{RAW[:230]}...; revision a serves until the document's spec changes"
    assert plain(cut).endswith("...; revision a serves until the document's spec changes")
    short = "Failed to provision revision for container app 'x'. Error details: Operation expired."
    assert plain(short) == "Operation expired."


def test_a_cause_that_stands_above_is_not_repeated():
    """A stage, a resource and the history name it; another message stays."""
    cause = PlainCause(str(Reason.IMAGE_NOT_FOUND), f"{SAID}. Correct it", "", "", (), None)
    assert brief(RAW, [cause]) == "ImageNotFound, as above"
    assert brief("something else", [cause]) == "something else"
    lines = "phi's last output: a | b. phi--r1 still serves"
    assert brief(f"it exits. {lines}") == "it exits. phi--r1 still serves"
    assert brief(RAW) == f"{SAID}. Correct it"
