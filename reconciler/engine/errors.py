"""Every error the loop can meet, one tree:

ReconcileError(reason, message)
  RetryableError            back off and try again
    Throttled               the service said when: `retry_after` seconds
    TransportFailed         no answer, or a 5xx
      NotConnected          no connection: an unknown name, nobody listens, an untrusted certificate
    Busy                    another operation runs on the object: waiting, not failing
    SlowRetry               a person or the platform must change something first, but look again
                            now and then
  NotReadyYet               a reference or an operation is not there yet: waiting, not failing
  WaitingForHuman           quota, capacity, role, lock, policy or an approval
  TerminalError             an edit is needed; without one it is tried again every few minutes
    DecidedElsewhere        what the document names is missing or taken, which others may change:
                            tried again every minute
    NotOwned                the object exists and is not ours
"""

from __future__ import annotations

from typing import Self

from reconciler.api.reasons import Cause


class ReconcileError(Exception):
    """`reason` goes into a condition; `message` is one sentence for a person, free of secrets."""

    def __init__(self, reason: Cause, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    def explained(self, words: str) -> Self:
        """The same error, with more of its cause."""
        found = type(self).__new__(type(self))  # copy() would call __init__ with one argument
        found.__dict__.update(self.__dict__)
        found.message = f"{self.message.rstrip('.')}. {words}" if words else self.message
        found.args = (f"{self.reason}: {found.message}",)
        return found


class RetryableError(ReconcileError):
    """Trying again may succeed by itself."""


class Throttled(RetryableError):
    """HTTP 429; `retry_after` in seconds, None when the service did not say."""

    def __init__(self, reason: Cause, message: str, retry_after: float | None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class TransportFailed(RetryableError):
    """Connection refused, reset, timed out, or a 5xx."""


class NotConnected(TransportFailed):
    """The request was not sent: no connection could be made."""


class Busy(RetryableError):
    """HTTP 409 of the kind `…OperationInProgress`; nothing is wrong, somebody is at work."""


class SlowRetry(RetryableError):
    """Retried at the slowest pace: Azure changes its mind later."""


class NotReadyYet(ReconcileError):
    """Look again after `after` seconds."""

    def __init__(self, reason: Cause, message: str, after: float = 2.0) -> None:
        super().__init__(reason, message)
        self.after = after


class WaitingForHuman(ReconcileError):
    """Retried slowly; exit code 4 for one-shot commands."""


class TerminalError(ReconcileError):
    """The same write fails again until the document, or Azure, changes."""


class DecidedElsewhere(TerminalError):
    """The document names what is not there, such as an image, or what somebody else has, such as
    the name of a storage account. That may change without an edit.
    """


class NotOwned(TerminalError):
    """The object exists, carries another owner or none, and no document names it."""
