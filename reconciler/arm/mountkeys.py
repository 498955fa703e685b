"""With which key each share was registered for mounts: kept on the share itself, because Azure
never shows it and the daemon's own memory may be lost. Neighbours: `kinds.environment_storage`
notes it, `registrations` decides by it.
"""

from __future__ import annotations

from reconciler.arm import files
from reconciler.arm.share import Share


async def note(share: Share, environment: str, storage: str, fingerprint: str) -> None:
    """Remember that `storage` of the managed environment is being made with the key of this
    fingerprint.
    """
    await files.write(share, _path(environment, storage), fingerprint.encode())


async def recall(share: Share, environment: str, storage: str) -> str | None:
    """The fingerprint of the key it was made with, None when somebody else made it."""
    found = await files.read(share, _path(environment, storage))
    return found.decode() if found else None


async def forget(share: Share, environment: str, storage: str) -> None:
    """Say nothing of who makes it next."""
    await files.delete(share, _path(environment, storage))


def _path(environment: str, storage: str) -> str:
    return f"storages/{environment}/{storage}"
