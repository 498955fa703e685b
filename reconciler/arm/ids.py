"""ARM ids: built in one place, compared without case, because Azure answers with a case
of its own.
"""

from __future__ import annotations

from urllib.parse import quote


def subscription(subscription_id: str) -> str:
    return f"/subscriptions/{subscription_id}"


def resource_group(subscription_id: str, name: str) -> str:
    return f"{subscription(subscription_id)}/resourceGroups/{quote(name)}"


def workspace(subscription_id: str, group: str, name: str) -> str:
    scope = resource_group(subscription_id, group)
    return f"{scope}/providers/Microsoft.OperationalInsights/workspaces/{quote(name)}"


def storage_account(subscription_id: str, group: str, name: str) -> str:
    scope = resource_group(subscription_id, group)
    return f"{scope}/providers/Microsoft.Storage/storageAccounts/{quote(name)}"


def share(subscription_id: str, group: str, account: str, name: str) -> str:
    scope = storage_account(subscription_id, group, account)
    return f"{scope}/fileServices/default/shares/{quote(name)}"


def environment(subscription_id: str, group: str, name: str) -> str:
    scope = resource_group(subscription_id, group)
    return f"{scope}/providers/Microsoft.App/managedEnvironments/{quote(name)}"


def environment_storage(subscription_id: str, group: str, environment_name: str, name: str) -> str:
    return f"{environment(subscription_id, group, environment_name)}/storages/{quote(name)}"


def app(subscription_id: str, group: str, name: str) -> str:
    scope = resource_group(subscription_id, group)
    return f"{scope}/providers/Microsoft.App/containerApps/{quote(name)}"


def job(subscription_id: str, group: str, name: str) -> str:
    scope = resource_group(subscription_id, group)
    return f"{scope}/providers/Microsoft.App/jobs/{quote(name)}"


def revision(subscription_id: str, group: str, app_name: str, name: str) -> str:
    return f"{app(subscription_id, group, app_name)}/revisions/{quote(name)}"


def same(one: str, other: str) -> bool:
    """Whether two ids name one thing."""
    return one.strip("/").lower() == other.strip("/").lower()
