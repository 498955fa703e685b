"""What `moorage doctor` looks at in Azure before the first write. Each check only reads. If Azure
does not answer one, that is a result of its own and stops no other.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.api import versions
from reconciler.api.documents import Environment, InferenceService
from reconciler.api.reasons import Reason
from reconciler.arm import ids
from reconciler.cli.check_result import CheckResult, Grade, unknown
from reconciler.cli.needed_actions import allowed, missing
from reconciler.cli.role import commands
from reconciler.cli.storage_checkup import check_storage
from reconciler.composition.compose import names_in
from reconciler.engine.errors import ReconcileError, RetryableError, TransportFailed
from reconciler.kinds.service.quota import REGION_GPU_USAGE
from reconciler.web.axes import remedy_of, without_remedy

if TYPE_CHECKING:
    from reconciler.api.loaded import Loaded
    from reconciler.arm.clients import Arm
    from reconciler.composition.names import Names

PERMISSIONS = "2022-04-01"
SUBSCRIPTIONS = "2022-12-01"
PROVIDERS = ("Microsoft.App", "Microsoft.Storage", "Microsoft.OperationalInsights")


async def check_all(arm: Arm, documents: Sequence[Loaded]) -> AsyncIterator[CheckResult]:
    """Every check for these documents. Without an answer about the subscription nothing else can
    be asked.
    """
    first = await _subscription(arm)
    yield first
    if first.grade is Grade.FAILED:
        return
    permissions = await _permissions(arm)
    for result in _roles(arm, documents, permissions):
        yield result
    for provider in PROVIDERS:
        yield await _provider(arm, provider, permissions)
    names = names_in(documents, arm.subscription_id, arm.settings.location)
    regions = await _regions(arm)
    for each in names.values():
        yield _region(each, regions)
        async for result in check_storage(arm, each):
            yield result
    for location, profiles in _gpus(documents, names).items():
        for profile in profiles:
            yield await _quota(arm, location, profile)


async def _subscription(arm: Arm) -> CheckResult:
    nothing = "nothing can be read or written"
    id_ = arm.subscription_id
    try:
        found = await arm.get_json(ids.subscription(id_), SUBSCRIPTIONS)
    except ReconcileError as error:
        message = without_remedy(error.message, error.reason)
        what = _after_refusal(arm, error)
        return CheckResult("credential", Grade.FAILED, message, nothing, *what)
    if found is None:
        return CheckResult(
            "credential",
            Grade.FAILED,
            f"this identity sees no subscription {id_}",
            nothing,
            "check MOORAGE_SUBSCRIPTION_ID, and give the identity a role on it",
            "az account list --all -o table",
        )
    state = str(found.get("state"))
    message = f"signed in; subscription {found.get('displayName')!r} is {state}"
    if state != "Enabled":
        return CheckResult(
            "credential",
            Grade.FAILED,
            message,
            "Azure refuses every write",
            "enable the subscription",
            f'az rest --method post --url "{ids.subscription(id_)}'
            '/providers/Microsoft.Subscription/enable?api-version=2021-10-01"',
        )
    return CheckResult("credential", Grade.OK, message)


def _after_refusal(arm: Arm, error: ReconcileError) -> tuple[str, str]:
    """What to do when nothing about the subscription was said, and the command."""
    if str(error.reason).endswith("AuthorizationFailed"):
        return remedy_of(error.reason), _assignment(arm)
    if isinstance(error, TransportFailed) and isinstance(error.reason, Reason):
        return remedy_of(error.reason), ""
    if isinstance(error, RetryableError):
        return "wait a little, and run `moorage doctor` again", ""
    return _sign_in(arm)


def _assignment(arm: Arm) -> str:
    return "\n".join(commands(arm.subscription_id, arm.settings.client_id))


def _sign_in(arm: Arm) -> tuple[str, str]:
    """What to do so that Azure takes the credential, and the command."""
    settings = arm.settings
    if settings.runs_here:
        return (
            "look whether a scripted fault refuses the login, else start the local Azure again",
            "moorage local-azure faults list",
        )
    tenant = f" --tenant {settings.tenant_id}" if settings.tenant_id else ""
    if settings.credential == "azure-cli":
        do = "sign in" if shutil.which("az") else "install the Azure CLI, and sign in"
        return do, f"az login{tenant}"
    if settings.credential == "service-principal":
        return (
            "check the secret and its end, and make a new one if need be; `moorage doctor` reads"
            " the same settings as the daemon",
            f"az ad app credential list --id {settings.client_id} -o table",
        )
    return (
        f"check MOORAGE_CREDENTIAL, which is {settings.credential}, and the identity of this"
        " machine",
        "",
    )


Permissions = list[dict[str, Any]] | ReconcileError


async def _permissions(arm: Arm) -> Permissions:
    """What Azure says the identity may do, or why it does not say it."""
    scope = ids.subscription(arm.subscription_id)
    try:
        return await arm.list_json(
            f"{scope}/providers/Microsoft.Authorization/permissions", PERMISSIONS
        )
    except ReconcileError as error:
        return error


def _roles(
    arm: Arm, documents: Sequence[Loaded], permissions: Permissions
) -> Iterator[CheckResult]:
    """Whether the identity may do what a run does, by Azure's own list of its permissions."""
    if isinstance(permissions, ReconcileError):
        yield unknown("role", permissions)
        return
    required, lost = missing(permissions, documents)
    grant = (
        "let somebody make the role that `moorage role` writes (`az role definition update` where"
        " an older one exists) and assign it"
    )
    command = _assignment(arm)
    if required:
        message = f"the identity may not: {', '.join(required)}"
        effect = "a run stops at the first call that needs one of them"
        yield CheckResult("role", Grade.FAILED, message, effect, grant, command)
    else:
        yield CheckResult("role", Grade.OK, "the identity may create what the documents name")
    for why in dict.fromkeys(lost.values()):
        actions = ", ".join(action for action, each in lost.items() if each == why)
        # What to do is the same for all of them, and is said once.
        first = not required and why == next(iter(lost.values()))
        told = (grant, command) if first else ("", "")
        yield CheckResult("role", Grade.LIMITED, f"without {actions} {why}", "", *told)


async def _provider(arm: Arm, namespace: str, permissions: Permissions) -> CheckResult:
    from reconciler.arm.providers import provider_state

    try:
        state = await provider_state(arm, namespace)
    except ReconcileError as error:
        return unknown("provider", error)
    message = f"{namespace} is {state}"
    if state.lower() in ("registered", "registering"):
        return CheckResult("provider", Grade.OK, message)
    action = f"{namespace}/register/action"
    if not isinstance(permissions, ReconcileError) and not allowed(action, permissions):
        return CheckResult(
            "provider",
            Grade.FAILED,
            f"{message}, and the identity may not register it ({action})",
            "Azure refuses to create anything of this provider",
            "let somebody register it who may",
            f"az provider register --namespace {namespace} --wait",
        )
    return CheckResult(
        "provider",
        Grade.OK,
        f"{message}; the first write registers it, which takes a minute or two",
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
        return unknown("region", regions)
    if _plain(names.location) in regions:
        return CheckResult("region", Grade.OK, f"{names.location} has Container Apps")
    return CheckResult(
        "region",
        Grade.FAILED,
        f"{names.location}, the region of Environment {names.environment}, has no Container Apps"
        " for this subscription",
        "the managed environment cannot be created, and nothing serves",
        f"write another spec.location, such as {', '.join(sorted(regions)[:3])}",
        "az provider show --namespace Microsoft.App --query"
        " \"resourceTypes[?resourceType=='managedEnvironments'].locations[]\" -o tsv",
    )


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
        return unknown("quota", error)
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
        "a new revision finds no GPU: it waits for ten minutes and fails",
        f"ask for more of {usage} in the portal (Quotas, Container Apps), or use another region",
        f'az rest --method get --url "{scope}/providers/Microsoft.App/locations/{_plain(location)}'
        f'/usages?api-version={versions.APP}"',
    )
