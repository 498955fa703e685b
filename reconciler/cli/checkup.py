"""What `moorage doctor` looks at in Azure before the first write. Each check only reads. If Azure
does not answer one, that is a result of its own and stops no other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.api import versions
from reconciler.api.documents import Environment, InferenceService
from reconciler.arm import ids
from reconciler.cli.needed_actions import missing
from reconciler.composition.compose import names_in
from reconciler.engine.errors import ReconcileError, TransportFailed
from reconciler.kinds.service.quota import REGION_GPU_USAGE
from reconciler.web.axes import remedy_of

if TYPE_CHECKING:
    from reconciler.api.loaded import Loaded
    from reconciler.arm.clients import Arm
    from reconciler.composition.names import Names

PERMISSIONS = "2022-04-01"
SUBSCRIPTIONS = "2022-12-01"
PROVIDERS = ("Microsoft.App", "Microsoft.Storage", "Microsoft.OperationalInsights")


class Grade(StrEnum):
    """How a check ended."""

    OK = "ok"
    LIMITED = "limited"  # a run succeeds, and something beside it does not
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True)
class CheckResult:
    """One line of the report; `remedy` is empty where nothing is to be done."""

    check: str
    grade: Grade
    message: str
    remedy: str = ""


async def check_all(arm: Arm, documents: Sequence[Loaded]) -> AsyncIterator[CheckResult]:
    """Every check for these documents. Without an answer about the subscription nothing else can
    be asked.
    """
    first = await _subscription(arm)
    yield first
    if first.grade is Grade.FAILED:
        return
    async for result in _roles(arm, documents):
        yield result
    for provider in PROVIDERS:
        yield await _provider(arm, provider)
    names = names_in(documents, arm.subscription_id, arm.settings.location)
    regions = await _regions(arm)
    for each in names.values():
        yield _region(each, regions)
        async for result in _storage(arm, each):
            yield result
    for location, profiles in _gpus(documents, names).items():
        for profile in profiles:
            yield await _quota(arm, location, profile)


async def _subscription(arm: Arm) -> CheckResult:
    try:
        found = await arm.get_json(ids.subscription(arm.subscription_id), SUBSCRIPTIONS)
    except ReconcileError as error:
        remedy = "sign in (`az login` for azure-cli), and check MOORAGE_CREDENTIAL"
        if isinstance(error, TransportFailed):  # no credential was looked at
            remedy = remedy_of(error.reason)
        return CheckResult("credential", Grade.FAILED, error.message, remedy)
    if found is None:
        return CheckResult(
            "credential",
            Grade.FAILED,
            f"this identity sees no subscription {arm.subscription_id}",
            "check MOORAGE_SUBSCRIPTION_ID, and give the identity a role on it",
        )
    state = str(found.get("state"))
    message = f"signed in; subscription {found.get('displayName')!r} is {state}"
    if state != "Enabled":
        return CheckResult("credential", Grade.FAILED, message, "enable the subscription")
    return CheckResult("credential", Grade.OK, message)


async def _roles(arm: Arm, documents: Sequence[Loaded]) -> AsyncIterator[CheckResult]:
    """Whether the identity may do what a run does, by Azure's own list of its permissions."""
    scope = ids.subscription(arm.subscription_id)
    try:
        found = await arm.list_json(
            f"{scope}/providers/Microsoft.Authorization/permissions", PERMISSIONS
        )
    except ReconcileError as error:
        yield _unknown("role", error)
        return
    required, lost = missing(found, documents)
    grant = "assign infra/deploy/role-definition.json at the scope of the subscription"
    if required:
        message = f"the identity may not: {', '.join(required)}"
        yield CheckResult("role", Grade.FAILED, message, grant)
    else:
        yield CheckResult("role", Grade.OK, "the identity may create what the documents name")
    for why in dict.fromkeys(lost.values()):
        actions = ", ".join(action for action, each in lost.items() if each == why)
        yield CheckResult("role", Grade.LIMITED, f"without {actions} {why}", grant)


async def _provider(arm: Arm, namespace: str) -> CheckResult:
    from reconciler.arm.providers import provider_state

    try:
        state = await provider_state(arm, namespace)
    except ReconcileError as error:
        return _unknown("provider", error)
    if state.lower() in ("registered", "registering"):
        return CheckResult("provider", Grade.OK, f"{namespace} is {state}")
    return CheckResult(
        "provider",
        Grade.OK,
        f"{namespace} is {state}; the first write registers it, which takes a minute or two",
    )


async def _regions(arm: Arm) -> frozenset[str] | ReconcileError:
    """The regions that have managed environments, or why they are not known."""
    try:
        found = await arm.get_json(
            f"{ids.subscription(arm.subscription_id)}/providers/Microsoft.App", versions.RESOURCES
        )
    except ReconcileError as error:
        return error
    return frozenset(
        _plain(location)
        for each in (found or {}).get("resourceTypes") or ()
        if str(each.get("resourceType")).lower() == "managedenvironments"
        for location in each.get("locations") or ()
    )


def _plain(location: str) -> str:
    return location.replace(" ", "").lower()


def _region(names: Names, regions: frozenset[str] | ReconcileError) -> CheckResult:
    if isinstance(regions, ReconcileError):
        return _unknown("region", regions)
    if _plain(names.location) in regions:
        return CheckResult("region", Grade.OK, f"{names.location} has Container Apps")
    return CheckResult(
        "region",
        Grade.FAILED,
        f"{names.location}, the region of Environment {names.environment}, has no Container Apps"
        " for this subscription",
        f"write another spec.location, such as {', '.join(sorted(regions)[:3])}",
    )


async def _storage(arm: Arm, names: Names) -> AsyncIterator[CheckResult]:
    """The storage account's name, and for one that exists its keys and its tier."""
    scope = ids.subscription(arm.subscription_id)
    group = ids.resource_group(arm.subscription_id, names.resource_group)
    path = f"{group}/providers/Microsoft.Storage/storageAccounts/{names.account}"
    try:
        account = await arm.get_json(path, versions.STORAGE)
        if account is not None:
            yield _account(names, account)
            return
        body = {"name": names.account, "type": "Microsoft.Storage/storageAccounts"}
        answer = await arm.post_json(
            f"{scope}/providers/Microsoft.Storage/checkNameAvailability", versions.STORAGE, body
        )
    except ReconcileError as error:
        yield _unknown("names", error)
        return
    if answer.get("nameAvailable"):
        yield CheckResult("names", Grade.OK, f"the storage account {names.account} is free")
        return
    yield CheckResult(
        "names",
        Grade.FAILED,
        f"the storage account {names.account} cannot be created: {answer.get('message')}",
        "write another spec.storage.accountName; it is unique in all of Azure",
    )


def _account(names: Names, account: Mapping[str, Any]) -> CheckResult:
    properties, sku = account.get("properties") or {}, (account.get("sku") or {}).get("name")
    if properties.get("allowSharedKeyAccess") is False:
        return CheckResult(
            "storage",
            Grade.FAILED,
            f"the storage account {names.account} allows no shared keys, and Container Apps mounts"
            " a share with them alone",
            "allow them (allowSharedKeyAccess), or exempt the account from the policy that"
            " forbids them",
        )
    tier = f"the storage account {names.account} ({sku}) exists and allows shared keys"
    return CheckResult("storage", Grade.OK, tier)


def _gpus(documents: Sequence[Loaded], names: Mapping[str, Names]) -> dict[str, dict[str, None]]:
    """The types of serverless GPU that the documents use, by region."""
    from reconciler.api.environment import DERIVED_PROFILES

    found: dict[str, dict[str, None]] = {}
    declared = {
        each.document.metadata.name: each.document
        for each in documents
        if isinstance(each.document, Environment)
    }
    for each in documents:
        if not isinstance(each.document, InferenceService) or each.document.spec.model is None:
            continue
        name = each.document.spec.environment
        asked = declared[name].spec.workload_profiles if name in declared else None
        types = (
            [profile.workload_profile_type for profile in asked]
            if asked is not None
            else ["Consumption-GPU-NC24-A100"] * bool(DERIVED_PROFILES)
        )
        for type_ in types:
            if type_ in REGION_GPU_USAGE:
                found.setdefault(names[name].location, {})[type_] = None
    return found


async def _quota(arm: Arm, location: str, profile: str) -> CheckResult:
    usage = REGION_GPU_USAGE[profile]
    scope = ids.subscription(arm.subscription_id)
    try:
        found = await arm.list_json(
            f"{scope}/providers/Microsoft.App/locations/{_plain(location)}/usages", versions.APP
        )
    except ReconcileError as error:
        return _unknown("quota", error)
    entry = next((each for each in found if each["name"]["value"].lower() == usage.lower()), None)
    if entry is None:
        return CheckResult("quota", Grade.UNKNOWN, f"{location} names no quota {usage}")
    used, limit = float(entry["currentValue"]), float(entry["limit"])
    message = f"{profile} in {location}: {used:g} of {limit:g} GPUs in use"
    if used < limit:
        return CheckResult("quota", Grade.OK, message)
    return CheckResult(
        "quota",
        Grade.FAILED,
        message,
        f"ask for more of {usage} in the portal (Quotas, Container Apps), or use another region",
    )


def _unknown(check: str, error: ReconcileError) -> CheckResult:
    return CheckResult(check, Grade.UNKNOWN, f"Azure does not say: {error.message}")
