"""The settings of an account's file service, and how long it keeps deleted shares."""

from typing import Any

from infra.local_azure.store import Record, Store

Body = dict[str, Any]


def retention_days(store: Store, owner: Record) -> int:
    """How many days a deleted share can be restored; 0 when it cannot."""
    policy = settings(store, owner)["shareDeleteRetentionPolicy"]
    return int(policy["days"]) if policy["enabled"] else 0


def settings(store: Store, owner: Record) -> Body:
    known = store.get(f"{owner.id}/fileServices/default")
    sent = known.body["properties"] if known else {}
    smb = dict((sent.get("protocolSettings") or {}).get("smb") or {})
    if owner.body["kind"] == "FileStorage":
        smb.setdefault("multichannel", {"enabled": False})
    policy = sent.get("shareDeleteRetentionPolicy") or {"enabled": True, "days": 7}
    return {
        "protocolSettings": {**(sent.get("protocolSettings") or {}), "smb": smb},
        "cors": {"corsRules": [], **(sent.get("cors") or {})},
        "shareDeleteRetentionPolicy": (
            policy if policy.get("enabled") else {"enabled": False, "days": 0}
        ),
    }
