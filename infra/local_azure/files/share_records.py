"""The records of shares, which ARM and the data plane both read and write. Copies of shares are in
`share_copies`.
"""

import re
import uuid
from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm import ids
from infra.local_azure.arm.errors import bad_request
from infra.local_azure.changes import Changes
from infra.local_azure.store import Record, Store

from . import service_settings
from .share_copies import SHARE, ShareCopies
from .tree import Tree

ACCOUNT = "microsoft.storage/storageaccounts"
Body = dict[str, Any]
_NAME = re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]")


class Shares:
    """Makes and removes shares, each a record and a folder of the tree."""

    def __init__(self, store: Store, tree: Tree, copies: ShareCopies, changes: Changes) -> None:
        self._store = store
        self._tree = tree
        self._copies = copies
        self._changes = changes

    def create(self, owner: Record, name: str) -> Record:
        """A new share's record and its directory; the caller stores the record."""
        if not _NAME.fullmatch(name):
            text = (
                "The specifed resource name contains invalid characters."
                if 3 <= len(name) <= 63
                else "The specified resource name length is not within the permissible limits."
            )
            raise bad_request(
                "InvalidResourceName" if 3 <= len(name) <= 63 else "OutOfRangeInput", text
            )
        self._tree.ensure(owner.name, name)
        self._changes.notify()  # a replica that had the share of this name mounts it again
        return Record(
            f"{owner.id}/fileServices/default/shares/{name}", SHARE, {"created": clock.now()}
        )

    def remove(self, record: Record) -> None:
        """Delete a share without a lease."""
        owner = self._store.get(ids.resource_id(record.id))
        self._copies.delete(
            record, service_settings.retention_days(self._store, owner) if owner else 0
        )


def settle(
    record: Record,
    owner: Record,
    *,
    quota: object = None,
    metadata: Body | None = None,
    tier: str | None = None,
    default: int | None = None,
) -> None:
    """Apply a write's settings and give the share a new etag. `default` is the quota of a share
    that names none.
    """
    most = 102400
    if quota is not None and (
        isinstance(quota, bool) or not isinstance(quota, int) or not 1 <= quota <= most
    ):
        raise bad_request(
            "InvalidRequestPropertyValue",
            f"The value '{quota}' is not allowed for property shareQuota.",
        )
    premium = owner.body["kind"] == "FileStorage"
    if tier is not None and tier not in (
        {"Premium"} if premium else {"TransactionOptimized", "Hot", "Cool"}
    ):
        raise bad_request(
            "InvalidRequestPropertyValue",
            f"The value '{tier}' is not allowed for property accessTier.",
        )
    body = record.body
    # Azure gives 100 TiB to shares of such accounts where no quota is named (recorded).
    large = premium or owner.body["properties"].get("largeFileSharesState") == "Enabled"
    body["shareQuota"] = quota or body.get("shareQuota") or (most if large else default or most)
    body["accessTier"] = (
        tier or body.get("accessTier") or ("Premium" if premium else "TransactionOptimized")
    )
    # Replaced as a whole: after {a} and then {b}, Azure has only b.
    if metadata is not None:
        body["metadata"] = {str(key): str(value) for key, value in metadata.items()}
    body["modified"] = clock.now()
    body["etag"] = new_etag()


def new_etag() -> str:
    return f'"0x{uuid.uuid4().hex[:15].upper()}"'
