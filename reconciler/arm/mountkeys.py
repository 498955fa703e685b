"""With which key each share was registered for mounts: kept on the share itself, because Azure
never shows it and the daemon's own memory may be lost. Neighbours: `kinds.environment_storage`
notes it, `registrations` decides by it.
"""

from __future__ import annotations

import re

from reconciler.arm import files
from reconciler.arm.share import Share

READS, LONGEST = 4, 64
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")  # as `sharedkey.key_fingerprint` makes it


async def note(share: Share, environment: str, storage: str, fingerprint: str) -> None:
    """Remember that `storage` of the managed environment is being made with the key of this
    fingerprint.
    """
    path = _path(environment, storage)
    await files.make_parents(share, [path])  # the directories of a new environment do not exist yet
    # In place, because only `recall` reads it, which knows a torn read.
    await files.create(share, path, fingerprint.encode())


async def recall(share: Share, environment: str, storage: str) -> str | None:
    """The fingerprint of the key it was made with, None when somebody else made it, or when what is
    there is none. A torn read is tried again: half a fingerprint is that of no key, and would look
    like a rotation, which costs a new revision.
    """
    for _ in range(READS):
        found = await files.read(share, _path(environment, storage), LONGEST)
        text = (found or b"").decode(errors="replace")
        if found is None or _FINGERPRINT.fullmatch(text):
            break
    return text if _FINGERPRINT.fullmatch(text) else None


async def forget(share: Share, environment: str, storage: str) -> None:
    """Remove the note, which would be wrong for a storage that is made under this name later."""
    await files.delete(share, _path(environment, storage))


def _path(environment: str, storage: str) -> str:
    return f"storages/{environment}/{storage}"
