"""Every code of Azure that Moorage knows, and every refusal that the local Azure can script: what
the loop does, that it tries again by itself, and what a person can do.
"""

import json

import pytest

from infra.local_azure.control.naming import APP
from infra.local_azure.faults import answers, endings, kinds
from infra.local_azure.faults.fault import Event, Fault
from reconciler.api.reasons import AzureCode, Reason
from reconciler.arm.errors import TABLE, from_fault
from reconciler.arm.faults import fault
from reconciler.arm.remedies import LOOP, REMEDY, explain_code, remedy_of_code
from reconciler.cli.app import run
from reconciler.cli.output.verdict import remedy
from reconciler.engine.errors import DecidedElsewhere, TerminalError, TransportFailed
from reconciler.engine.reconcile import Stall
from reconciler.engine.record import Phase
from reconciler.engine.result import Pacing, outcome_of

PACING = Pacing()
BY_SPELLING = (
    "SomeOperationInProgress", "ResourceRequestsThrottled", "SomeQuotaExceeded", "SkuNotAvailable",
    "ManagedEnvironmentNoAvailableCapacityInRegion",
)  # fmt: skip
# What stops a service most often: its code or reason, the class of error, and what ends it.
NAMED = [
    ("quota", "MaxNumberOfRegionalEnvironmentsInSubExceeded", "WaitingForHuman", "higher quota"),
    ("policy", "RequestDisallowedByPolicy", "WaitingForHuman", "the policy"),
    ("lock", "ScopeLocked", "WaitingForHuman", "Remove the lock"),
    (
        "missing role",
        "AuthorizationFailed",
        "WaitingForHuman",
        "the role that `moorage role` writes",
    ),
    ("name taken", "StorageAccountAlreadyTaken", "DecidedElsewhere", "another accountName"),
    ("provider", "MissingSubscriptionRegistration", "WaitingForHuman", "az provider register"),
    ("environment Failed", "ManagedEnvironmentUpgradeError", "SlowRetry", "Wait"),
    ("share full", "ShareSizeLimitReached", "WaitingForHuman", "quotaGiB"),
    ("shared keys", "KeyBasedAuthenticationNotPermitted", "WaitingForHuman", "shared key access"),
    ("no capacity", "SkuNotAvailable", "WaitingForHuman", "another location"),
    ("image", "ImageNotFound", "", "push the image"),
    ("registry", "RegistryDenied", "", "right to pull"),
    ("share unreachable", "AzureUnreachable", "", "check the network"),
    ("key rotated", "StorageKeyRotated", "", "wait"),
    ("no GPU", "ReplicasMissing", "", "ask for quota"),
]


def error(code, status=409, message="Azure's words."):
    body = json.dumps({"error": {"code": code, "message": message}})
    return from_fault(fault(status, {}, body))


def comes_back(found):
    """Within how many seconds the same write is tried again without an edit."""
    outcome = outcome_of(found, PACING)
    if outcome.phase is Phase.STALLED:
        stall = Stall("the same", found, 0.0)
        times = (PACING.slow, PACING.stubborn)
        return next(at for at in times if not stall.holds("the same", at, PACING))
    return PACING.slow if outcome.after is None else outcome.after


@pytest.mark.parametrize("code", [*TABLE, *BY_SPELLING])
def test_a_code_says_what_to_do_and_is_tried_again(code, capsys):
    """It has a class, a remedy in one line, an explanation, and no end to the attempts."""
    found = error(code)
    assert comes_back(found) <= PACING.stubborn
    loop, told = explain_code(code)
    assert loop in LOOP.values()
    assert told == remedy_of_code(code)
    assert len(told) > 3
    assert "\n" not in told
    assert remedy(str(found.reason))
    assert run(["explain", str(found.reason)]) == 0
    assert "what to do: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "code", ["ServiceUnavailable", "InternalServerError", "GatewayTimeout", "Http502"]
)
def test_a_fault_of_azure_itself_asks_nobody_to_read(code):
    """There is nothing in the message; to wait, and Azure's service health, is all that helps."""
    assert remedy_of_code(code) == REMEDY[TransportFailed]


@pytest.mark.parametrize(("cause", "word", "kind", "what"), NAMED, ids=[c[0] for c in NAMED])
def test_a_cause_with_a_name_has_its_class_and_remedy(cause, word, kind, what, capsys):
    """What stops a service most often is known by name; `moorage explain` says what ends it."""
    ours = word in set(map(str, Reason))
    if not ours:
        assert type(error(word)).__name__ == kind, cause
    assert run(["explain", word if ours else AzureCode(word)]) == 0
    assert what in capsys.readouterr().out


def test_what_somebody_else_may_change_is_tried_again_within_two_minutes():
    """A name that becomes free, or an image that is pushed, needs no edit; neither does a request
    that Azure refuses for good, only later.
    """
    taken, refused = error("StorageAccountAlreadyTaken"), error("SomethingElse", 400)
    assert (type(taken), type(refused)) == (DecidedElsewhere, TerminalError)
    assert comes_back(taken) == PACING.slow
    assert comes_back(refused) == PACING.stubborn
    assert not Stall("the same", taken, 0.0).holds("an edit", 0.0, PACING)


def scripted():
    """Every refusal that a fault of the local Azure gives: its status, its code and its plane."""
    for name, kind in kinds.KINDS.items():
        made = Fault(id="f", kind=name, takes=dict(kind.takes))
        if name in kinds.REFUSALS and "arm" in kind.planes:
            event = Event("arm", operation=APP, method="PUT", names=("web", "/scope/web"))
            refusal = answers.arm(made, event, "sub", "client", "principal")
            yield pytest.param(refusal.status, refusal.code, id=f"{name}-arm")
        if name in kinds.REFUSALS and "files" in kind.planes:
            refusal = answers.files(made)
            yield pytest.param(refusal.status, refusal.code, id=f"{name}-files")
        if name in kinds.OPERATIONS - {"OperationSlow"}:
            for finish in ("app.done", "environment.done", "job.done"):
                made = Fault(id="f", kind=name, takes={"code": "", "message": "", **kind.takes})
                code, _ = endings._words(made, finish, "web")
                yield pytest.param(0, code, id=f"{name}-{finish}")


@pytest.mark.parametrize(("status", "code"), scripted())
def test_a_scripted_refusal_has_a_row(status, code):
    """No fault that a test can script ends in a guess: its code is in the table, or it is Azure's
    own trouble, which its status tells.
    """
    known = explain_code(code) is not None
    own = status >= 500 or code in ("InternalServerError", "InternalError")
    assert known or own, code
    assert comes_back(error(code, status or 500)) <= PACING.stubborn


def test_each_class_of_error_has_words():
    """What the loop does, and what a person does, for every class that a rule gives."""
    assert LOOP.keys() == REMEDY.keys()
    assert {rule.kind for rule in TABLE.values()} <= LOOP.keys()
