"""What a kind is told of other objects, as the loop would tell it."""

from dataclasses import dataclass, field

from reconciler.api.reasons import Reason
from reconciler.engine.errors import NotReadyYet


@dataclass
class Known:
    """What was seen of each object, as the loop would tell a kind."""

    seen: dict = field(default_factory=dict)

    def outputs(self, key, of):
        if not isinstance(self.seen.get(key), of):
            raise NotReadyYet(Reason.NOT_OBSERVED, f"{key} was not seen")
        return self.seen[key]

    def last(self, key, of):
        found = self.seen.get(key)
        return found if isinstance(found, of) else None

    def part(self, key, of, pick):
        found = self.last(key, of)
        return None if found is None else pick(found)
