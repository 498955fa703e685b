"""ARM ids: built in one place, compared without case, because Azure answers with a case
of its own.
"""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import quote, unquote


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


def execution(subscription_id: str, group: str, job_name: str, name: str) -> str:
    return f"{job(subscription_id, group, job_name)}/executions/{quote(name)}"


def revision(subscription_id: str, group: str, app_name: str, name: str) -> str:
    return f"{app(subscription_id, group, app_name)}/revisions/{quote(name)}"


def on_share(share_id: str, path: str) -> str:
    """An id for what is at `path` on a share: ARM has none for it."""
    return f"{share_id}/path/{path}"


def path_on_share(identity: str) -> str:
    """The path in an id that `on_share` made."""
    return identity.partition("/path/")[2]


def part(resource_id: str, kind: str) -> str:
    """The name that follows the segment `kind` in an id, for example `resourceGroups`; empty when
    there is none.
    """
    segments = resource_id.strip("/").split("/")
    for segment, name in pairwise(segments):
        if segment.lower() == kind.lower():
            return unquote(name)
    return ""


def name(resource_id: str) -> str:
    """The last name in an id."""
    return unquote(resource_id.rstrip("/").rpartition("/")[2])


def same(one: str, other: str) -> bool:
    """Whether two ids name one thing."""
    return one.strip("/").lower() == other.strip("/").lower()
