"""An error with more of its cause is the same error: its class, its reason, what else it carries."""

from reconciler.api.reasons import Reason
from reconciler.engine.errors import RetryableError, Throttled


def test_an_explained_error_keeps_its_class_and_its_fields():
    """Whatever the arguments of its class are."""
    error = Throttled(Reason.PROGRESSING, "too many requests.", 3.0)
    told = error.explained("the limit is 10")
    assert type(told) is Throttled
    assert (told.message, told.retry_after) == ("too many requests. the limit is 10", 3.0)
    assert str(told) == f"{Reason.PROGRESSING}: {told.message}"
    assert error.message == "too many requests."
    assert RetryableError(Reason.PROGRESSING, "no").explained("").message == "no"
