"""One scripted fault and the events that it may hit. Plain data; `script` checks it, `fault_store`
keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .kinds import KINDS


@dataclass(frozen=True)
class Event:
    """What a fault can hit: a request, or the start of a replica.

    `operation` is a resource type (`microsoft.app/containerapps`, perhaps with an action) or, on
    the Files plane, the operation's name (`putrange`). A name pattern is compared with `names`:
    `web`, `cae/web`, `account/share/path`. `client` is a request's User-Agent. `hits` are the
    faults that hit it.
    """

    plane: str
    method: str = ""
    operation: str = ""
    names: tuple[str, ...] = ()
    client: str = ""
    hits: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class Fault:
    """What happens (`kind`, `takes`), to what (`plane`, `method`, `operation`, `name`, `client`;
    empty: any), and how often.

    The first `after` events that match pass; then `times` of them are hit (None: all), each with
    `probability`; `lasts` seconds after it was added the fault is over.
    """

    id: str
    kind: str
    plane: str = ""
    method: str = ""
    operation: str = ""
    name: str = ""
    client: str = ""
    after: int = 0
    times: int | None = None
    probability: float = 1.0
    lasts: float | None = None
    takes: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, parameter: str) -> Any:
        return self.takes.get(parameter, KINDS[self.kind].takes.get(parameter))

    def matches(self, event: Event) -> bool:
        kind = KINDS[self.kind]
        if event.plane not in kind.planes or self.plane not in {"", event.plane}:
            return False
        if kind.methods and event.method not in kind.methods:
            return False
        # A list is a GET, too.
        if (
            self.method
            and self.method != event.method
            and (self.method, event.method) != ("GET", "LIST")
        ):
            return False
        if self.operation and not fnmatchcase(event.operation, self.operation.lower()):
            return False
        if self.client and not fnmatchcase(event.client.lower(), self.client.lower()):
            return False
        return not self.name or any(
            fnmatchcase(name.lower(), self.name.lower()) for name in event.names
        )
