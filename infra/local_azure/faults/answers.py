"""What each plane says when a fault refuses a request: Azure's statuses, codes, headers and
sentences.
"""

from typing import Any

from infra.local_azure import clock
from infra.local_azure.arm.errors import ArmError
from infra.local_azure.control.naming import APP, ENVIRONMENT, JOB
from infra.local_azure.files.errors import FilesError

from .fault import Event, Fault

_BUSY = {
    APP: ("ContainerAppOperationInProgress", "a container app"),
    ENVIRONMENT: ("ManagedEnvironmentOperationInProgress", "a managed environment"),
    JOB: ("ContainerAppsJobOperationInProgress", "a container apps job"),
}
_WORDS = {
    500: (
        "InternalServerError",
        "The server encountered an internal error. Please retry the request.",
    ),
    502: (
        "BadGateway",
        (
            "The gateway did not receive a response from the resource provider within the specified"
            " time period."
        ),
    ),
    503: ("ServiceUnavailable", "The service is unavailable. Please try again later."),
    504: (
        "GatewayTimeout",
        (
            "The gateway did not receive a response from 'Microsoft.App' within the specified time"
            " period."
        ),
    ),
    404: ("NotFound", "The resource was not found."),
    409: ("Conflict", "The request conflicts with the state of the resource."),
}
_NOT_PERMITTED = "This request is not authorized to perform this operation using this permission."
_ACTIONS = {
    "GET": "read",
    "LIST": "read",
    "HEAD": "read",
    "PUT": "write",
    "PATCH": "write",
    "DELETE": "delete",
}


def arm(fault: Fault, event: Event, subscription: str, client: str, principal: str) -> ArmError:
    """The refusal of a Resource Manager request."""
    scope = event.names[-1] if event.names else f"/subscriptions/{subscription}"
    if fault.kind == "Throttle":
        return _throttled(fault, event, subscription, principal)
    # The code and the noun are those of the type, because clients know a conflict by its code.
    if fault.kind == "Conflict":
        kind = "/".join(event.operation.split("/")[:2])
        code, what = _BUSY.get(kind, ("AnotherOperationInProgress", "a resource"))
        name = event.names[0] if event.names else ""
        text = (
            f"Cannot modify {what} '{name}' because there is an active provisioning operation in"
            " progress."
        )
        return _as_scripted(ArmError(409, code, text), fault)
    if fault.kind == "ExpiredToken":
        text = "The access token expiry UTC time is earlier than current UTC time."
        challenge = f'Bearer error="invalid_token", error_description="{text}"'
        return ArmError(
            401,
            "ExpiredAuthenticationToken",
            text,
            headers={"WWW-Authenticate": challenge, "x-ms-failure-cause": "gateway"},
        )
    if fault.kind == "Forbidden":
        return forbidden(event, scope, client, principal)
    if fault.kind == "PolicyDenied":
        return _disallowed(fault["policy"], event, scope, subscription)
    code, text = _WORDS.get(fault["status"], ("BadRequest", "The request was refused."))
    return _as_scripted(ArmError(fault["status"], code, text), fault)


def files(fault: Fault) -> FilesError:
    """The refusal of a Files request. Storage throttles with 503."""
    headers = (
        {"Retry-After": str(fault["retryAfter"])}
        if fault.kind == "Throttle" and fault["retryAfter"]
        else {}
    )
    # Storage has codes of its own; Resource Manager's would never reach a client of Files.
    made = {
        "Throttle": (503, "ServerBusy", "The server is busy."),
        "Conflict": (
            409,
            "SharingViolation",
            "The specified resource may be in use by an SMB client.",
        ),
        "ExpiredToken": (
            401,
            "InvalidAuthenticationInfo",
            "Lifetime validation failed. The token is expired.",
        ),
        "Forbidden": (403, "AuthorizationPermissionMismatch", _NOT_PERMITTED),
        "ShareFull": (403, "ShareSizeLimitReached", "The specified share is full."),
    }.get(fault.kind)
    if made is None:
        code, text = {
            500: (
                "InternalError",
                "The server encountered an internal error. Please retry the request.",
            )
        }.get(fault["status"], ("ServerBusy", "The server is busy."))
        made = (fault["status"], code, text)
    status, code, text = made
    return FilesError(status, fault["code"] or code, fault["message"] or text, headers)


def login(fault: Fault) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of a refused token request."""
    if fault.kind == "Throttle":
        headers = {"Retry-After": str(fault["retryAfter"])} if fault["retryAfter"] else {}
        text = (
            "AADSTS90055: The tenant is being throttled because there are too many incoming"
            " requests."
        )
        return 429, _aadsts("temporarily_unavailable", text, 90055), headers
    text = "AADSTS90033: A transient error has occurred. Please try again."
    return (
        fault["status"],
        _aadsts(fault["code"] or "temporarily_unavailable", fault["message"] or text, 90033),
        {},
    )


def forbidden(event: Event, scope: str, client: str, principal: str) -> ArmError:
    """403 of a caller without the role."""
    kind = event.operation.rsplit("/", 1)[0] if event.method == "POST" else event.operation
    action = (
        f"{event.operation}/action"
        if event.method == "POST"
        else f"{kind}/{_ACTIONS.get(event.method, 'read')}"
    )
    text = (
        f"The client '{client}' with object id '{principal}' does not have authorization to perform"
        f" action '{action}' over scope '{scope}' or the scope is invalid. If access was recently"
        " granted, please refresh your credentials."
    )
    return ArmError(403, "AuthorizationFailed", text, headers={"x-ms-failure-cause": "gateway"})


def _throttled(fault: Fault, event: Event, subscription: str, principal: str) -> ArmError:
    kind = {"GET": "read", "LIST": "read", "HEAD": "read", "DELETE": "delete"}.get(
        event.method, "write"
    )
    wait = fault["retryAfter"]
    text = (
        f"Number of '{kind}' requests for subscription '{subscription}' actor '{principal}'"
        " exceeded."
    )
    error = ArmError(
        429,
        "SubscriptionRequestsThrottled",
        f"{text} Please try again after '{wait or 5}' seconds.",
    )
    error.headers = {
        "x-ms-failure-cause": "gateway",
        **({"Retry-After": str(wait)} if wait else {}),
    }
    return _as_scripted(error, fault)


def _disallowed(policy: str, event: Event, scope: str, subscription: str) -> ArmError:
    name = event.names[0] if event.names else scope
    root = f"/subscriptions/{subscription}/providers/Microsoft.Authorization"
    assignment, definition = (
        f"{root}/policyAssignments/{policy}",
        f"{root}/policyDefinitions/{policy}",
    )
    identifiers = (
        f'[{{"policyAssignment":{{"name":"{policy}","id":"{assignment}"}},'
        f'"policyDefinition":{{"name":"{policy}","id":"{definition}"}}}}]'
    )
    info = {
        "policyDefinitionDisplayName": policy,
        "policyDefinitionId": definition,
        "policyDefinitionName": policy,
        "policyDefinitionEffect": "deny",
        "policyAssignmentId": assignment,
        "policyAssignmentName": policy,
        "policyAssignmentDisplayName": policy,
        "policyAssignmentScope": f"/subscriptions/{subscription}",
        "policyAssignmentParameters": {},
    }
    text = f"Resource '{name}' was disallowed by policy. Policy identifiers: '{identifiers}'."
    more = {"target": name, "additionalInfo": [{"type": "PolicyViolation", "info": info}]}
    return ArmError(
        403, "RequestDisallowedByPolicy", text, headers={"x-ms-failure-cause": "gateway"}, more=more
    )


def _as_scripted(error: ArmError, fault: Fault) -> ArmError:
    """Use the code and message that the script gives, if it does."""
    error.code, error.message = fault["code"] or error.code, fault["message"] or error.message
    return error


def _aadsts(error: str, text: str, code: int) -> dict[str, Any]:
    return {
        "error": error,
        "error_description": text,
        "error_codes": [code],
        "timestamp": clock.zulu(),
    }
