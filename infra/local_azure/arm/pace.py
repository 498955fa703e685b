"""How long operations take: tenths of a second, or the minutes of the real Azure. Read by
`operations` and the limits.

Real seconds are what recordings and reports show for one unit of an operation (creations take
multiples of it).
"""

from dataclasses import dataclass

_REAL_S = {
    "group.deleted": 60.0,
    "workspace.created": 8.0,
    "workspace.deleted": 5.0,
    "account.created": 10.0,  # twice that
    "environment.done": 45.0,  # three times that for a new one
    "environment.deleted": 180.0,  # twice that
    "app.applied": 20.0,
    "app.deleted": 15.0,
    "app.switched": 10.0,
    "job.applied": 15.0,
    "job.deleted": 15.0,
}
ORDINARY_S = 20.0
_RETRY_AFTER_S = {"microsoft.storage": 17, "microsoft.resources": 15}


@dataclass(frozen=True)
class Pace:
    """`base_s` is the length of an ordinary operation at the fast pace; `real` takes Azure's own
    lengths.
    """

    base_s: float = 0.1
    real: bool = False

    @property
    def speed(self) -> float:
        """How many of Azure's seconds pass in one of ours."""
        return 1.0 if self.real else ORDINARY_S / max(self.base_s, 0.001)

    def seconds(self, finish: str, factor: float) -> float:
        return (_REAL_S.get(finish, ORDINARY_S) if self.real else self.base_s) * factor

    def scaled(self, azure_seconds: float) -> float:
        """The seconds here that correspond to this many of Azure's seconds."""
        return azure_seconds / self.speed

    def retry_after(self, namespace: str) -> int | None:
        """The Retry-After that Azure sends; Microsoft.App sends none."""
        return _RETRY_AFTER_S.get(namespace.lower())
