"""Which files hold documents of a set whose identity is given (`spec.owner`, MOORAGE_OWNER): such a
set may be run from several places, and what the files of another place ask for is not gone. `sets`
remembers the rest of a set; `handover` asks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from reconciler.api.manifest_files import manifest_files
from reconciler.engine.store import Store
from reconciler.sources.identity import NoIdentityError, has_identity, identity_of, is_within

_FILES = "files of "


def note_files(store: Store, identities: Iterable[str], files: Sequence[Path]) -> None:
    """Remember that these files belong to the sets, beside those of other places."""
    target = store.of_target()
    for identity in identities:
        known = [*other_files(store, [identity], files), *files]
        target.put(f"{_FILES}{identity}", json.dumps([str(file) for file in known]))


def other_files(store: Store, identities: Iterable[str], files: Sequence[Path]) -> tuple[Path, ...]:
    """The remembered files of the sets that still hold documents, and that `files` do not cover."""
    target = store.of_target()
    known = [
        Path(str(name))
        for identity in identities
        for name in json.loads(target.get(f"{_FILES}{identity}") or "[]")
    ]
    return tuple(
        file for file in dict.fromkeys(known) if manifest_files([file], []) and not _in(file, files)
    )


def _in(file: Path, files: Sequence[Path]) -> bool:
    return any(is_within(file, each) or _same(file, each) for each in files)


def _same(one: Path, other: Path) -> bool:
    """Whether both are the same documents in two clones of a repository."""
    with suppress(NoIdentityError, OSError):
        if has_identity(one) and has_identity(other):
            return identity_of([one], keep=False) == identity_of([other], keep=False)
    return False
