"""One table from what Azure says to what the loop does about it, and the one function that reads
any error.

Codes decide first, then how a code is spelled, then the HTTP status. `engine.errors` holds the
classes, `arm.faults` reads the bodies.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from reconciler.api.conditions import advice
from reconciler.api.reasons import AzureCode, Cause, Reason
from reconciler.arm.faults import AzureFault, fault_of_operation, fault_of_response, redact
from reconciler.engine.errors import (
    Busy,
    DecidedElsewhere,
    NotConnected,
    NotReadyYet,
    ReconcileError,
    RetryableError,
    SlowRetry,
    TerminalError,
    Throttled,
    TransportFailed,
    WaitingForHuman,
)


class Rule(NamedTuple):
    """What a code means: the class of error, what a person can do where that is special (`hint`,
    which the message ends with), and a clearer reason than the code (if it needs one). `remedy` is
    what a person can do where no message has to say it.
    """

    kind: type[ReconcileError]
    hint: str = ""
    reason: Reason | None = None
    remedy: str = ""


_BUSY = Rule(Busy)
_PARENT = Rule(NotReadyYet)
_SHARED_KEY = (
    "Azure Files mounts need the account key: allow shared key access on the storage account, or"
    " change the policy."
)
_ROLE = (
    "Give the daemon's identity the role that `moorage role` writes; a new assignment can take ten"
    " minutes to be seen."
)
_REGISTER = (
    "The daemon registers the provider if its role has the provider's register/action; otherwise:"
    " az provider register -n <provider>."
)
_EXPIRED = ("InvalidAuthenticationToken", "ExpiredAuthenticationToken", "InvalidAuthenticationInfo")
UNREGISTERED = ("MissingSubscriptionRegistration", "SubscriptionNotRegistered")
_LOCATION = "Choose a location that Azure offers for this resource."
_LOGS = "correct what the message names; `moorage logs` shows more"
_QUOTA = "Ask for a higher quota, or lower what the document asks for."

TABLE: Mapping[str, Rule] = {
    # Another operation, often one of ours, runs on the object.
    "ResourceGroupBeingDeleted": _BUSY,
    "OperationPreempted": _BUSY,
    "ShareBeingDeleted": _BUSY,
    "DeletePending": _BUSY,
    "SharingViolation": _BUSY,
    "LeaseAlreadyPresent": Rule(
        Busy, "Wait. If the lease has no end, no daemon made it: release or break it."
    ),
    "LeaseIdMismatchWithLeaseOperation": _BUSY,
    "LeaseNotPresentWithLeaseOperation": _BUSY,
    # A resource that the object needs does not exist (yet).
    "ResourceGroupNotFound": _PARENT,
    "ParentResourceNotFound": _PARENT,
    "ParentNotFound": _PARENT,
    "ResourceNotFound": _PARENT,
    "NotFound": _PARENT,
    "ShareNotFound": _PARENT,
    "ManagedEnvironmentStorageNotFound": _PARENT,
    "ManagedEnvironmentNotFound": _PARENT,
    # It still contains something, which must be deleted first.
    "100026": Rule(
        Busy, "Its container apps are deleted first.", Reason.ENVIRONMENT_HAS_CONTAINER_APPS
    ),
    "ManagedEnvironmentHasContainerApps": Rule(Busy, "Its container apps are deleted first."),
    "ManagedEnvironmentHasContainerAppsJobs": Rule(
        WaitingForHuman, "Delete the environment's jobs first."
    ),
    "ManagedEnvironmentHasBuilders": Rule(
        WaitingForHuman, "Delete the environment's builders first."
    ),
    "ManagedEnvironmentStorageInUse": Rule(
        Busy, "The container apps that mount it are deleted first."
    ),
    "ShareHasSnapshots": Rule(WaitingForHuman, "Delete the share's snapshots first."),
    "ResourceGroupDeletionBlocked": Rule(
        WaitingForHuman, "Remove what the message names from the resource group."
    ),
    # Too many requests.
    "429": Rule(Throttled, "", Reason.THROTTLED),
    "TooManyRequests": Rule(Throttled, "", Reason.THROTTLED),
    "ServerBusy": Rule(Throttled),
    # Only a person can remove the cause.
    "AuthorizationFailed": Rule(WaitingForHuman, _ROLE),
    "LinkedAuthorizationFailed": Rule(WaitingForHuman, _ROLE),
    "AuthorizationPermissionMismatch": Rule(WaitingForHuman, _ROLE),
    "AuthorizationFailure": Rule(
        WaitingForHuman, "Open the storage account's network rules for the daemon."
    ),
    "InsufficientAccountPermissions": Rule(WaitingForHuman, _ROLE),
    "KeyBasedAuthenticationNotPermitted": Rule(WaitingForHuman, _SHARED_KEY),
    "ShareSizeLimitReached": Rule(
        WaitingForHuman,
        "The share is full: raise storage.quotaGiB, or delete files that are no longer needed.",
    ),
    "RequestDisallowedByPolicy": Rule(
        WaitingForHuman, "An Azure Policy forbids this; change the document or the policy."
    ),
    "RequestDisallowedByAzure": Rule(
        WaitingForHuman, "The subscription may not use this region; choose another location."
    ),
    "ScopeLocked": Rule(WaitingForHuman, "Remove the lock, or set reconcilePolicy: Observe."),
    "FailedIdentityOperation": Rule(
        WaitingForHuman,
        "Correct the identity's id in spec.identity, or make the identity.",
    ),
    "InvalidParameterValueInContainerTemplate": Rule(
        WaitingForHuman,
        "Correct the field that the message names.",
    ),
    "ReadOnlyDisabledSubscription": Rule(
        WaitingForHuman, "The subscription is disabled: enable it again, for example by a payment."
    ),
    "SubscriptionNotFound": Rule(
        WaitingForHuman, "Check MOORAGE_SUBSCRIPTION_ID and the identity's access to it."
    ),
    "InvalidSubscriptionId": Rule(WaitingForHuman, "Check MOORAGE_SUBSCRIPTION_ID."),
    **dict.fromkeys(UNREGISTERED, Rule(WaitingForHuman, _REGISTER)),
    "ManagedEnvironmentUpgradeError": Rule(
        SlowRetry, "Wait: Azure often takes the change of the environment later."
    ),
    # The revision did not come up in Azure's time; a slow model may still become healthy, so health
    # decides, not this.
    "ContainerAppOperationError": Rule(RetryableError, "", None, _LOGS),
    "ContainerAppsJobOperationError": Rule(RetryableError, "", None, _LOGS),
    # The document asks for something that Azure cannot do.
    "StorageAccountAlreadyTaken": Rule(
        DecidedElsewhere, "The name is in use elsewhere in Azure: choose another accountName."
    ),
    "StorageAccountAlreadyExists": Rule(
        DecidedElsewhere,
        "Another resource group has the account: choose another accountName, or delete it there.",
    ),
    "AccountNameInvalid": Rule(
        TerminalError, "Write an accountName of 3 to 24 lower-case letters and digits."
    ),
    "LocationNotAvailableForResourceGroup": Rule(TerminalError, _LOCATION),
    "LocationNotAvailableForResourceType": Rule(TerminalError, _LOCATION),
    "InvalidResourceGroupLocation": Rule(
        TerminalError, "A resource group cannot move: put the former location back."
    ),
    "InvalidResourceLocation": Rule(
        TerminalError, "A resource cannot move: put the former location back."
    ),
    "NoRegisteredProviderFound": Rule(TerminalError, _LOCATION),
    "ManagedEnvironmentStorageUpdateBadRequest": Rule(
        TerminalError, "Only the key of an environment storage can change: name another storage."
    ),
    "FeatureNotSupportedForAccount": Rule(
        TerminalError, "Name another storage account: this one cannot do what the message names."
    ),
    "WorkloadProfileNotFound": Rule(
        DecidedElsewhere, "Add the workload profile to the Environment."
    ),
    **dict.fromkeys(_EXPIRED, Rule(RetryableError, "Wait: a new one is fetched.")),
    "OperationCanceled": Rule(RetryableError, "", None, "Wait: it is tried again."),
    "InvalidAuthenticationTokenTenant": Rule(
        WaitingForHuman, "Check AZURE_TENANT_ID: the subscription is in another tenant."
    ),
    "AuthenticationFailed": Rule(WaitingForHuman, "Check the credential and this machine's clock."),
}

# Families of codes, by their spelling: Azure adds codes to them with every release.
PATTERNS: Sequence[tuple[re.Pattern[str], Rule]] = [
    (re.compile(r"(OperationInProgress|LockConflict|NotProvisioned|BeingDeleted)$"), _BUSY),
    (re.compile(r"Throttled$"), Rule(Throttled)),
    (
        re.compile(r"Quota|^Max(imum)?[A-Z].*(Exceeded|Reached|Failed)$|LimitExceeded$"),
        Rule(WaitingForHuman, _QUOTA),
    ),
    (
        re.compile(r"Capacity|AllocationFailed$|^SkuNotAvailable$"),
        # Nobody knows how long it lasts, so a one-shot command ends, as it does without quota.
        Rule(
            WaitingForHuman,
            "Azure has no room for this in the region now: wait, or choose another location.",
        ),
    ),
]

# These codes say only that a template did not start. Azure's sentence quotes the answer of the
# registry or of the Key Vault, which tells the cause.
_SAYS_LITTLE = re.compile(
    r"^(ContainerAppOperationError|ContainerAppsJobOperationError"
    r"|InvalidParameterValueInContainerTemplate)$"
)
_WORDS: Sequence[tuple[re.Pattern[str], Rule]] = [
    (
        # An identity without the role AcrPull is never told so; the operation just ends late.
        re.compile("Operation expired"),
        Rule(
            RetryableError,
            "A registry that does not answer looks like this, and so does an identity without the"
            " role AcrPull.",
        ),
    ),
    (
        re.compile("Unable to get value using Managed identity"),
        Rule(WaitingForHuman, advice(Reason.VAULT_DENIED), Reason.VAULT_DENIED),
    ),
    (
        re.compile(r"UNAUTHORIZED|DENIED|authentication required|pull access denied"),
        Rule(WaitingForHuman, advice(Reason.REGISTRY_DENIED), Reason.REGISTRY_DENIED),
    ),
    (
        re.compile(r"(MANIFEST|NAME|BLOB)_UNKNOWN|manifest unknown|image .* not found"),
        Rule(DecidedElsewhere, advice(Reason.IMAGE_NOT_FOUND), Reason.IMAGE_NOT_FOUND),
    ),
]

_BY_STATUS: Mapping[int, Rule] = {
    400: Rule(TerminalError),
    401: Rule(WaitingForHuman, "Check the credential and this machine's clock."),
    403: Rule(WaitingForHuman, _ROLE),
    404: Rule(NotReadyYet),
    408: Rule(TransportFailed),
    409: Rule(RetryableError),
    410: Rule(NotReadyYet),
    412: Rule(Busy),
    413: Rule(TerminalError),
    423: Rule(Busy),
    429: Rule(Throttled, "", Reason.THROTTLED),
    501: Rule(TerminalError),
}
ITS_OWN = r"ServiceUnavailable|InternalServer|BadGateway|GatewayTimeout|ServerTimeout|ServerBusy"
_HOST = re.compile(r"(https?://[^/\s]+)/\S*")
_UNSENT = (ServiceRequestError, aiohttp.ClientConnectorError)


def _transport(error: BaseException) -> type[TransportFailed]:
    return NotConnected if isinstance(error, _UNSENT) else TransportFailed


def translate(error: BaseException) -> ReconcileError:
    """Turns any error of an SDK or of the network into one of the loop's. It never carries a
    secret.

    The result's message is the service's own first sentence with a hint of what to do; its reason
    is the service's code, or ours where it gave none.
    """
    if isinstance(error, ReconcileError):
        return error
    if isinstance(error, ClientAuthenticationError) and _from_login(error):
        return _sign_in_failed(error)
    if isinstance(error, HttpResponseError) and error.response is not None:
        return from_fault(fault_of_response(error.response))
    if isinstance(
        error, (*_UNSENT, ServiceResponseError, aiohttp.ClientError, asyncio.TimeoutError, OSError)
    ):
        # Without the path, so that everything that one network fault blocks has the same message.
        message = _HOST.sub(r"\1", _short(error)) or type(error).__name__
        return _transport(error)(Reason.AZURE_UNREACHABLE, message)
    if isinstance(error, (AzureError, json.JSONDecodeError)):
        return RetryableError(Reason.ANSWER_NOT_UNDERSTOOD, _short(error))
    return RetryableError(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {_short(error)}")


def translate_operation(body: Mapping[str, Any]) -> ReconcileError:
    """The error of a long-running operation that ended Failed or Canceled, from its status body or
    the resource's own.
    """
    return from_fault(fault_of_operation(body))


def from_fault(fault: AzureFault) -> ReconcileError:
    """The engine's error for a fault, by code, then by status."""
    rule = (
        _rule_by_words(fault)
        or TABLE.get(fault.code)
        or rule_by_spelling(fault.code)
        or rule_by_status(fault.status)
    )
    reason = rule.reason or _reason(fault)
    message = f"{fault.message} {rule.hint}".strip() or reason
    if rule.kind is Throttled:
        return Throttled(reason, message, fault.retry_after)
    return rule.kind(reason, message)


def _reason(fault: AzureFault) -> Cause:
    if fault.code:
        return AzureCode(fault.code)
    if fault.status == 0:
        return Reason.OPERATION_FAILED
    return Reason.AZURE_UNREACHABLE if fault.status >= 500 else AzureCode(f"Http{fault.status}")


def _rule_by_words(fault: AzureFault) -> Rule | None:
    if not _SAYS_LITTLE.match(fault.code):
        return None
    return next((rule for pattern, rule in _WORDS if pattern.search(fault.message)), None)


def rule_by_spelling(code: str) -> Rule | None:
    return next((rule for pattern, rule in PATTERNS if pattern.search(code)), None)


def rule_by_status(status: int) -> Rule:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return Rule(TransportFailed)
    return Rule(TerminalError if status >= 400 else RetryableError)


def _from_login(error: ClientAuthenticationError) -> bool:
    """Whether no token was given, rather than a token refused by the service it was for."""
    return error.response is None or "/oauth2/" in str(getattr(error.response.request, "url", ""))


def _sign_in_failed(error: ClientAuthenticationError) -> ReconcileError:
    """No token. A network failure in between looks the same to azure-identity, so its cause is
    asked first.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ServiceRequestError, ServiceResponseError, aiohttp.ClientError)):
            return _transport(cause)(Reason.LOGIN_UNREACHABLE, _short(cause))
        cause = cause.__cause__ or cause.__context__
    status = int(getattr(error.response, "status_code", 0) or 0)
    if status == 429 or status >= 500:
        return TransportFailed(Reason.LOGIN_UNREACHABLE, _short(error))
    return WaitingForHuman(Reason.SIGN_IN_FAILED, _short(error))


def _short(error: BaseException) -> str:
    text = str(error).partition("\nContent: ")[0]  # azure-core repeats the body behind it
    return redact(" ".join(text.split()))[:400]
