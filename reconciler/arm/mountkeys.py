"""With which key each share was registered for mounts: kept on the share itself, because Azure
never shows it and the daemon's own memory may be lost. Neighbours: `kinds.environment_storage`
notes it, `registrations` decides by it.

A managed environment has one file, `{"<storage>": "<fingerprint>"}`, beside the folders: a folder
of its own would cost a call more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from reconciler.arm import files
from reconciler.arm.share import Share
from serving.untrusted import UntrustedError, parse

READS, LONGEST = 4, 64 * 1024
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")  # as `sharedkey.key_fingerprint` makes it


async def note(
    share: Share, environment: str, made: Mapping[str, str], *, new: bool = False
) -> None:
    """Remember that storages of the managed environment are being made with the keys of these
    fingerprints. We have just created a `new` environment: nobody has noted anything else of it.
    """
    path = path_of(environment)
    async with share.making[path]:
        before = share.mount_keys.get(path, {}) if new else await _read(share, path)
        if made.items() <= before.items():
            return
        await _write(share, path, {**before, **made}, replaces=bool(before))


async def recall(share: Share, environment: str, storage: str) -> str | None:
    """The fingerprint of the key it was made with, None when somebody else made it, or when what is
    there is none.
    """
    return (await noted(share, environment)).get(storage)


async def noted(share: Share, environment: str) -> dict[str, str]:
    """The same for all that we made in the managed environment, by name."""
    return await _read(share, path_of(environment))


async def forget(share: Share, environment: str, storage: str) -> None:
    """Remove the note, which would be wrong for a storage that is made under this name later."""
    path = path_of(environment)
    async with share.making[path]:
        kept = await _read(share, path)
        if kept.pop(storage, None) is not None:
            await _write(share, path, kept, replaces=True)


async def _read(share: Share, path: str) -> dict[str, str]:
    """A torn read is tried again: half a fingerprint is that of no key, and would look like a
    rotation, which costs a new revision.
    """
    for _ in range(READS):
        content = await files.read(share, path, LONGEST)
        if content is None:
            break
        try:
            body = parse(content, LONGEST)
        except UntrustedError:
            continue
        if isinstance(body, dict):
            return {name: text for name, text in body.items() if _FINGERPRINT.fullmatch(str(text))}
    return {}


async def _write(share: Share, path: str, names: Mapping[str, str], *, replaces: bool) -> None:
    """A new file is written in place, because only `_read` reads it, which knows a torn read. What
    it `replaces` must outlive a daemon that dies meanwhile.
    """
    write = files.write if replaces else files.create
    await write(share, path, json.dumps(names, sort_keys=True).encode())
    share.mount_keys[path] = dict(names)


def path_of(environment: str) -> str:
    """The file of a managed environment."""
    return f"storages-{environment}.json"
