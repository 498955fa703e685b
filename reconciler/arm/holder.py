"""Who holds the lease of a share, in a small file on it. For people only: `lease` decides by the
lease itself and never by what this file says.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from datetime import datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import HttpResponseError
from pydantic import BaseModel, Field, ValidationError

from reconciler.arm import files
from reconciler.arm.share import Share

if TYPE_CHECKING:
    from azure.storage.fileshare.aio import ShareClient

PATH = "leader.json"
_MOST = 1024  # bytes; whatever else may be in its place


class Holder(BaseModel):
    """`lease` is a digest of the lease's id, which must stay with its owner."""

    lease: str = Field(pattern=r"^[0-9a-f]{12}$")
    host: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=253)
    process: int = Field(ge=0)
    since: datetime

    def __str__(self) -> str:
        return (
            f"the daemon on host {self.host} (process {self.process}, since"
            f" {self.since:%Y-%m-%d %H:%M:%S} UTC)"
        )


async def sign(share: Share, lease_id: str) -> None:
    """Write that we hold the lease, unless the file says so already.

    Raises:
        ReconcileError: the share could not be read or written.
    """
    before = await _found(share)
    if before is None or before.lease != _digest(lease_id):
        now = share.arm.time.now().isoformat(timespec="seconds")
        found = {"lease": _digest(lease_id), "host": socket.gethostname()[:253]}
        content = json.dumps({**found, "process": os.getpid(), "since": now})
        await files.write(share, PATH, content.encode())


async def read(share: Share, lease_id: str) -> Holder | None:
    """Who else holds it; None when the file says nothing of that.

    Raises:
        ReconcileError: the share could not be read.
    """
    found = await _found(share)
    return None if found is None or found.lease == _digest(lease_id) else found


async def _found(share: Share) -> Holder | None:
    async def start(client: ShareClient) -> bytes:
        try:
            file = await client.get_file_client(PATH).download_file(offset=0, length=_MOST)
            return await file.readall()
        except HttpResponseError as error:
            if error.status_code not in (404, 416):  # none, or one that was made and not written
                raise
            return b""

    try:
        return Holder.model_validate_json(await share.call(start))
    except ValidationError:
        return None


def _digest(lease_id: str) -> str:
    return hashlib.sha256(lease_id.encode()).hexdigest()[:12]
