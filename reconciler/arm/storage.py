"""Writes of storage accounts and file shares. Bodies are ARM JSON. What is inside a share is
`arm.files`.
"""

from __future__ import annotations

import math
import time

from reconciler.api import versions
from reconciler.arm import ids, operations
from reconciler.arm.clients import Arm, JsonObject
from reconciler.engine.external import Operation

RECENT = 2.0  # seconds, as the inventory has it


async def put_storage_account(
    arm: Arm, group: str, name: str, body: JsonObject
) -> Operation | None:
    """Create the account, or update it if it is there; the token of the creation."""
    scope = ids.storage_account(arm.subscription_id, group, name)
    return await operations.begin(
        arm, scope, arm.storage.storage_accounts.begin_create, group, name, body
    )


async def patch_storage_account(arm: Arm, group: str, name: str, body: JsonObject) -> None:
    scope = ids.storage_account(arm.subscription_id, group, name)
    await operations.write(arm, scope, arm.storage.storage_accounts.update, group, name, body)


async def delete_storage_account(arm: Arm, group: str, name: str) -> Operation | None:
    scope = ids.storage_account(arm.subscription_id, group, name)
    return await operations.delete(arm, scope, arm.storage.storage_accounts.delete, group, name)


async def storage_keys(arm: Arm, group: str, name: str, *, fresh: bool = False) -> list[str]:
    """The account's keys, key1 first, at most two seconds old, or `fresh` where one was refused.
    Secrets. `Busy` while the account is being created.
    """
    path = f"{ids.storage_account(arm.subscription_id, group, name)}/listKeys"
    at, keys = arm.account_keys.get(path, (-math.inf, []))
    if fresh or time.monotonic() - at > RECENT:
        answer = await arm.post_json(path, versions.STORAGE)
        keys = [str(each["value"]) for each in answer["keys"]]
        arm.account_keys[path] = (time.monotonic(), keys)
    return keys


async def put_share(arm: Arm, group: str, account: str, name: str, body: JsonObject) -> None:
    scope = ids.share(arm.subscription_id, group, account, name)
    await operations.write(arm, scope, arm.storage.file_shares.create, group, account, name, body)


async def patch_share(arm: Arm, group: str, account: str, name: str, body: JsonObject) -> None:
    """Azure replaces a share's metadata as a whole: send all of it."""
    scope = ids.share(arm.subscription_id, group, account, name)
    await operations.write(arm, scope, arm.storage.file_shares.update, group, account, name, body)


async def delete_share(arm: Arm, group: str, account: str, name: str) -> Operation | None:
    scope = ids.share(arm.subscription_id, group, account, name)
    return await operations.delete(arm, scope, arm.storage.file_shares.delete, group, account, name)
