"""The values of secrets, in the daemon's memory alone: what is stored, compared and shown is their
digest. `sources.secrets` fills it, `kinds` takes values out to write them to Azure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

# Slow and in need of memory, because a short password could be guessed from a digest that is part
# of a revision's name; about 30 ms for each new value.
_COST, _BLOCK, _LENGTH = 2**14, 8, 16


class SecretValues:
    """Values by their digest. Its representation shows none."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._digests: dict[tuple[str, str], str] = {}

    def __repr__(self) -> str:
        return f"SecretValues({len(self._values)})"

    def add(self, value: str, salt: str) -> str:
        """Keep a value and give its digest, which another process with the same salt gives too."""
        found = self._digests.get((salt, value))
        if found is None:
            found = hashlib.scrypt(
                value.encode(), salt=salt.encode(), n=_COST, r=_BLOCK, p=1, dklen=_LENGTH
            ).hex()
        self._digests[salt, value] = found
        self._values[found] = value
        return found

    def get(self, digest: str) -> str | None:
        return self._values.get(digest)

    def keep_only(self, digests: Iterable[str]) -> None:
        """Forget the values that nothing asks for any more."""
        wanted = set(digests)
        self._values = {name: value for name, value in self._values.items() if name in wanted}
        self._digests = {key: name for key, name in self._digests.items() if name in wanted}
