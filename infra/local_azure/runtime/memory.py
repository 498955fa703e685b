"""What the scheduler keeps of revisions across its restarts (revisions.json). Without it, each idle
revision would start again.
"""

import json
from collections.abc import Container
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

_KEPT = 1000


@dataclass(frozen=True)
class Known:
    """`booted`: got its first replica since it was activated. `proven`: was ready once. `epoch`:
    how often it was restarted.
    """

    booted: bool = False
    proven: bool = False
    epoch: int = 0


class Memory:
    """A small JSON file, replaced at every change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known = {name: Known(**raw) for name, raw in json.loads(path.read_text()).items()}
        except (OSError, ValueError, TypeError):
            self._known = {}

    def of(self, revision: str) -> Known:
        return self._known.get(revision, Known())

    def update(self, revision: str, **changes: Any) -> bool:
        """Changes fields of one revision; saves and returns True when something differs."""
        known = replace(self.of(revision), **changes)
        if known == self._known.get(revision):
            return False
        self._known[revision] = known
        self._save()
        return True

    def keep_active(self, active: Container[str]) -> None:
        """A revision that is no longer active boots again when it is activated again."""
        changed = [
            name for name, known in self._known.items() if known.booted and name not in active
        ]
        for name in changed:
            self._known[name] = replace(self._known[name], booted=False)
        if changed:
            self._save()

    def _save(self) -> None:
        newest = dict(list(self._known.items())[-_KEPT:])
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(json.dumps({name: asdict(known) for name, known in newest.items()}))
        draft.replace(self._path)
