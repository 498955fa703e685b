"""The table of errors, fed with bodies that Azure was recorded to send and with those its users
report.
"""

import json
from pathlib import Path

import aiohttp
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)

from reconciler.api.reasons import Reason
from reconciler.arm.errors import TABLE, from_fault, translate, translate_operation
from reconciler.arm.faults import fault, redact, retry_after
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

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent / "recorded_errors.jsonl").read_text().splitlines()
]
EXPECTED = {
    "ResourceGroupNotFound": NotReadyYet,
    "ResourceNotFound": NotReadyYet,
    "NotFound": NotReadyYet,
    "ParentResourceNotFound": NotReadyYet,
    "ManagedEnvironmentStorageNotFound": NotReadyYet,
    "ShareNotFound": NotReadyYet,
    "Http404": NotReadyYet,
    "InvalidValuesForRequestParameters": TerminalError,
    "ContainerAppRegistriesPasswordSecretRefNotFound": TerminalError,
    "FeatureNotSupportedForAccount": TerminalError,
    "ShareAlreadyExists": RetryableError,
    "ShareHasSnapshots": WaitingForHuman,
    "EnvironmentHasContainerApps": Busy,
}


def arm_error(status, code, message="m", headers=None):
    return from_fault(
        fault(status, headers or {}, json.dumps({"error": {"code": code, "message": message}}))
    )


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=lambda each: f"{each['status']}-{each['from'][:40]}"
)
def test_recorded_answers(recorded):
    """JSON, XML with request ids, an empty HEAD answer and a code that is a number: each has its
    class and a clean line.
    """
    body = (
        recorded["body"]
        if isinstance(recorded["body"], str)
        else json.dumps(recorded["body"] or "")
    )
    error = from_fault(
        fault(recorded["status"], recorded["headers"], body if recorded["body"] else "")
    )
    assert type(error) is EXPECTED[error.reason.removeprefix("Azure:")]
    assert error.message
    assert "RequestId" not in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("status", "code", "expected", "reason"),
    [
        (409, "ContainerAppOperationInProgress", Busy, "we, or somebody, are still at it"),
        (409, "ManagedEnvironmentOperationInProgress", Busy, "the same for environments"),
        (409, "StorageAccountIsNotProvisioned", Busy, "listKeys before the account is ready"),
        (400, "ManagedEnvironmentNotProvisioned", Busy, "an app before its environment is ready"),
        (409, "LeaseAlreadyPresent", Busy, "another daemon leads"),
        (403, "AuthorizationFailed", WaitingForHuman, "a role is missing"),
        (403, "RequestDisallowedByPolicy", WaitingForHuman, "a policy forbids it"),
        (409, "ScopeLocked", WaitingForHuman, "a lock holds it"),
        (409, "MissingSubscriptionRegistration", WaitingForHuman, "a provider is not registered"),
        (400, "MaxNumberOfRegionalEnvironmentsInSubExceeded", WaitingForHuman, "quota"),
        (400, "SomeNewQuotaExceeded", WaitingForHuman, "a quota, by its name"),
        (409, "SomeNewOperationInProgress", Busy, "a wait, by its name"),
        (429, "ResourceRequestsThrottled", Throttled, "too fast, by its name"),
        (400, "SomethingElse", TerminalError, "an unknown 400 is about the request"),
        (400, "ManagedEnvironmentUpgradeError", SlowRetry, "Azure often takes it later"),
        (409, "SkuNotAvailable", WaitingForHuman, "no capacity, and nobody knows for how long"),
        (400, "ContainerAppInvalidName", TerminalError, "only another document helps"),
        (409, "StorageAccountAlreadyTaken", DecidedElsewhere, "the name may become free"),
        (401, "ExpiredAuthenticationToken", RetryableError, "the next try brings a new token"),
        (401, "InvalidAuthenticationTokenTenant", WaitingForHuman, "the wrong tenant stays wrong"),
        (409, "NeverHeardOf", RetryableError, "an unknown conflict may pass"),
        (412, "ConditionNotMet", Busy, "somebody was faster"),
        (501, "NotImplemented", TerminalError, "trying again will not implement it"),
        (500, "InternalServerError", TransportFailed, "Azure's own trouble"),
        (502, "", TransportFailed, "a gateway's"),
    ],
)
def test_codes_and_statuses(status, code, expected, reason):
    """The code decides, then the status."""
    assert type(arm_error(status, code)) is expected, reason


def test_a_body_without_the_error_wrapper_is_understood():
    """Some of Microsoft.App's errors are bare."""
    error = from_fault(fault(409, {}, '{"code":"ContainerAppLockConflict","message":"try later"}'))
    assert (type(error), error.reason) == (Busy, "Azure:ContainerAppLockConflict")


def test_a_general_code_gives_way_to_the_first_detail():
    """DeploymentFailed says nothing; what is inside does."""
    inner = {"code": "RequestDisallowedByPolicy", "message": "tag costCenter is required"}
    error = from_fault(
        fault(
            400,
            {},
            json.dumps({"error": {"code": "DeploymentFailed", "message": "x", "details": [inner]}}),
        )
    )
    assert error.reason == "Azure:RequestDisallowedByPolicy"
    assert "costCenter" in error.message


@pytest.mark.parametrize(
    ("headers", "message", "expected", "reason"),
    [
        ({"Retry-After": "7"}, "slow down", 7.0, "the header"),
        ({"retry-after-ms": "250"}, "slow down", 0.25, "milliseconds"),
        ({"Retry-After": "0"}, "slow down", None, "0 says nothing"),
        ({}, "Retry after 2 seconds.", 2.0, "only in the text"),
        ({}, "Please try again after '372' seconds.", 372.0, "in the text, quoted"),
        ({}, "slow down", None, "not said"),
    ],
)
def test_throttling_says_when_to_come_back(headers, message, expected, reason):
    """429 comes with the delay in a header, in the text, or not at all, and with a number as its
    code.
    """
    error = arm_error(429, "429", message, headers)
    assert isinstance(error, Throttled)
    assert error.reason == "Throttled"
    assert error.retry_after == expected, reason


def test_a_date_in_retry_after_is_read():
    """HTTP allows a date; one in the past means now."""
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert retry_after({"retry-after": date, "date": "Wed, 21 Oct 2015 07:27:18 GMT"}) == 42.0
    assert retry_after({"retry-after": "nonsense"}) is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ServiceRequestError("refused"), NotConnected),
        (ServiceResponseTimeoutError("slow"), TransportFailed),
        (aiohttp.ServerDisconnectedError(), TransportFailed),
        (TimeoutError(), TransportFailed),
        (ConnectionResetError("reset"), TransportFailed),
        (
            ClientAuthenticationError("AADSTS7000215: Invalid client secret provided."),
            WaitingForHuman,
        ),
        (ValueError("odd"), RetryableError),
    ],
)
def test_what_never_got_an_answer(raised, expected):
    """The network is retried; a refused sign-in is for a person."""
    assert type(translate(raised)) is expected


def test_an_error_of_ours_stays_as_it_is():
    """Translating twice changes nothing."""
    error = Busy(Reason.OPERATION_IN_PROGRESS, "y")
    assert translate(error) is error


def test_an_operation_without_words_still_says_how_it_ended():
    """Canceled, with nothing else in the body."""
    assert translate_operation({"status": "Canceled"}).reason == "OperationFailed"


@pytest.mark.parametrize(
    "text",
    [
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey="
        + "A" * 86
        + "==;EndpointSuffix=core.windows.net",
        "the key " + "b" * 86 + "== is wrong",
        "Authorization: Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.sig refused",
        "https://x.file.core.windows.net/s?sv=1&sig=AbC%2Fdef&se=2",
        "client_secret: hunter2hunter2",
    ],
)
def test_secrets_do_not_get_into_messages(text):
    """Keys, tokens, signatures and passwords are cut out, the rest of the sentence stays."""
    cleaned = redact(text)
    assert "(secret)" in cleaned
    assert not any(each in cleaned for each in ("AAAA", "bbbb", "eyJ0", "AbC", "hunter2"))


def test_every_rule_makes_an_error():
    """Each entry of the table can be built and has words for a person."""
    for code in TABLE:
        error = arm_error(400, code, "Words.")
        assert isinstance(error, ReconcileError)
        assert error.message.startswith("Words.")


@pytest.mark.parametrize(
    ("error", "reason", "why"),
    [
        (from_fault(fault(503, {}, "")), "AzureUnreachable", "no endpoint of ours is down"),
        (translate(ConnectionResetError("reset")), "AzureUnreachable", "nobody answered"),
        (from_fault(fault(418, {}, "")), "Azure:Http418", "a status is all that Azure gave"),
        (
            from_fault(fault(500, {}, '{"error": {"code": "InternalError", "message": "x"}}')),
            "Azure:InternalError",
            "a fault of Azure is not one of Moorage",
        ),
        (translate(KeyError("x")), "InternalError", "a fault of Moorage is not one of Azure"),
    ],
    ids=lambda each: each if isinstance(each, str) and " " in each else "",
)
def test_a_reason_says_whose_trouble_it_is(error, reason, why):
    """An outage of Azure, a code of Azure's and a fault of Moorage's each have a reason of their
    own.
    """
    assert error.reason == reason


@pytest.mark.parametrize(
    ("details", "kind", "reason"),
    [
        ("MANIFEST_UNKNOWN: manifest unknown", DecidedElsewhere, Reason.IMAGE_NOT_FOUND),
        ("NAME_UNKNOWN: repository not known", DecidedElsewhere, Reason.IMAGE_NOT_FOUND),
        ("UNAUTHORIZED: authentication required", WaitingForHuman, Reason.REGISTRY_DENIED),
        ("DENIED: requested access is denied", WaitingForHuman, Reason.REGISTRY_DENIED),
        ("Unable to get value using Managed identity me", WaitingForHuman, Reason.VAULT_DENIED),
    ],
)
@pytest.mark.parametrize(
    "code", ["ContainerAppOperationError", "InvalidParameterValueInContainerTemplate"]
)
def test_a_refused_image_is_told_from_a_revision_that_is_late(code, details, kind, reason):
    """One code stands for both: an image that is not there needs another document, a registry that
    denies needs a person, and an expired operation is tried again.
    """
    words = (
        "Failed to provision revision for container app 'web'. Error details: The following"
        " field(s) are either invalid or missing. Field 'template.containers.web.image' is invalid"
        f" with details: 'Invalid value: \"a/b:1\": GET https:: {details}';."
    )
    error = translate_operation({"status": "Failed", "error": {"code": code, "message": words}})
    assert (type(error), error.reason) == (kind, reason)
    assert "a/b:1" in error.message
    expired = {"code": "ContainerAppOperationError", "message": "Error details: Operation expired."}
    late = translate_operation({"status": "Failed", "error": expired})
    assert type(late) is RetryableError
    assert "an identity without the role AcrPull" in late.message
