"""What `moorage doctor` looks at in a storage account and its share. `checkup` asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.api import versions
from reconciler.arm import ids
from reconciler.cli.check_result import CheckResult, Grade, unknown
from reconciler.engine.errors import ReconcileError

if TYPE_CHECKING:
    from reconciler.arm.clients import Arm
    from reconciler.composition.names import Names

# Kinds of storage accounts that have blobs alone.
_WITHOUT_FILES = ("BlobStorage", "BlockBlobStorage")


async def check_storage(arm: Arm, names: Names) -> AsyncIterator[CheckResult]:
    """The storage account's name, and for one that exists its keys, its kind and its share."""
    scope = ids.subscription(arm.subscription_id)
    group = ids.resource_group(arm.subscription_id, names.resource_group)
    path = f"{group}/providers/Microsoft.Storage/storageAccounts/{names.account}"
    try:
        account = await arm.get_json(path, versions.STORAGE)
        if account is not None:
            yield _account(names, account)
            if account.get("kind") in _WITHOUT_FILES:
                return
            share = await arm.get_json(
                f"{path}/fileServices/default/shares/{names.share}", versions.STORAGE
            )
            if share is not None:
                yield _share(names, share)
            return
        body = {"name": names.account, "type": "Microsoft.Storage/storageAccounts"}
        answer = await arm.post_json(
            f"{scope}/providers/Microsoft.Storage/checkNameAvailability", versions.STORAGE, body
        )
    except ReconcileError as error:
        yield unknown("names", error)
        return
    if answer.get("nameAvailable"):
        yield CheckResult("names", Grade.OK, f"the storage account {names.account} is free")
        return
    yield CheckResult(
        "names",
        Grade.FAILED,
        f"the storage account {names.account} cannot be created: {answer.get('message')}",
        "without it no file reaches a replica, and nothing serves",
        "write another spec.storage.accountName; it is unique in all of Azure",
        f"az storage account check-name --name {names.account}",
    )


def _account(names: Names, account: Mapping[str, Any]) -> CheckResult:
    properties, sku = account.get("properties") or {}, (account.get("sku") or {}).get("name")
    where = f"--name {names.account} --resource-group {names.resource_group}"
    if account.get("kind") in _WITHOUT_FILES:
        return CheckResult(
            "storage",
            Grade.FAILED,
            f"the storage account {names.account} is of the kind {account.get('kind')}, which has"
            " no file shares",
            "the share cannot be created, and nothing serves",
            "write another spec.storage.accountName",
            f"az storage account show {where} --query kind",
        )
    if properties.get("allowSharedKeyAccess") is False:
        return CheckResult(
            "storage",
            Grade.FAILED,
            f"the storage account {names.account} allows no shared keys, and Container Apps mounts"
            " a share with them alone",
            "no file can be published, and no new replica mounts the share",
            "allow them, or exempt the account from the policy that forbids them",
            f"az storage account update {where} --allow-shared-key-access true",
        )
    tier = f"the storage account {names.account} ({sku}) exists and allows shared keys"
    return CheckResult("storage", Grade.OK, tier)


def _share(names: Names, share: Mapping[str, Any]) -> CheckResult:
    """The protocol and the tier of a share that exists."""
    properties = share.get("properties") or {}
    protocol, tier = properties.get("enabledProtocols") or "SMB", properties.get("accessTier")
    if protocol != "SMB":
        return CheckResult(
            "share",
            Grade.FAILED,
            f"the share {names.share} speaks {protocol}, and Moorage mounts shares over SMB",
            "no file can be published, and nothing serves",
            "write another spec.storage.shareName",
            f"az storage share-rm show --name {names.share} --storage-account {names.account}"
            f" --resource-group {names.resource_group} --query enabledProtocols",
        )
    message = f"the share {names.share} exists" + (f", of the tier {tier}" if tier else "")
    if tier == "Cool":
        return CheckResult(
            "share",
            Grade.LIMITED,
            message,
            "Azure charges for each byte that is read from it, and a replica that starts reads its"
            " whole model",
            "move it to the tier for shares that are read often",
            f"az storage share-rm update --name {names.share} --storage-account {names.account}"
            f" --resource-group {names.resource_group} --access-tier TransactionOptimized",
        )
    return CheckResult("share", Grade.OK, message)
