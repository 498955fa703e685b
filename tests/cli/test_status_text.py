"""The text of `moorage status`: a verdict first, then cause and remedy, then tables that fit."""

import io
import re

import pytest

from reconciler.api.conditions import advice
from reconciler.arm.errors import translate_operation
from reconciler.cli.output.console import Console
from reconciler.cli.output.status_text import lines_of
from reconciler.cli.output.verdict import remedy, troubles, verdict
from tests.cli.statuses import conditions, environment, service, status

FAILED = "revision phi--r2 does not start: CrashLoopBackOff; phi--r549f460d1 still serves"
SLEEPING = {"replicas": [], "revisions": []}
CASES = [
    ("serves", service(), "phi serves support@3f9c on 1 of 1 replica"),
    (
        "many adapters",
        service(adapters=[{"name": f"a{n}", "digest": "00"} for n in range(9)]),
        "phi serves 9 adapters on 1 of 1 replica",
    ),
    (
        "one that no version answers for",
        service(
            adapters=[
                {"name": "support", "digest": "3f9c0000aaaabbbb"},
                {"name": "sales", "digest": "77ab0000aaaabbbb"},
            ],
            replicas=[
                service()["replicas"][0]
                | {
                    "adapters": [
                        {"name": "support", "digest": "1234", "state": "Failed", "canary": None},
                        {"name": "sales", "digest": None, "state": "Failed", "canary": None},
                    ]
                }
            ],
            conditions=conditions(
                Ready=("False", "AdapterFailed", "sales failed"),
                Synced=("False", "AdapterFailed", "sales failed"),
            ),
        ),
        "phi serves support@1234 on 1 of 1 replica, but not as its document says",
    ),
    ("code", service(adapters=[]), "phi serves on 1 of 1 replica"),
    (
        "asleep",
        service(conditions=conditions(Ready=("True", "ScaledToZero", "")), **SLEEPING),
        "phi is ready to serve support@3f9c; no replica runs, a request starts one",
    ),
    (
        "on its way",
        service(
            conditions=conditions(
                Ready=("False", "Progressing", ""), Progressing=("True", "Progressing", "")
            ),
            **SLEEPING,
        ),
        "phi does not serve yet; it is on its way",
    ),
    (
        "failed beside an old one",
        service(conditions=conditions(Ready=("False", "RevisionFailed", FAILED))),
        "phi serves support@3f9c on 1 of 1 replica, but not as its document says",
    ),
    (
        "stalled",
        service(
            conditions=conditions(
                Ready=("False", "RevisionFailed", FAILED), Stalled=("True", "RevisionFailed", "")
            ),
            **SLEEPING,
        ),
        "phi does not serve, and waits for you",
    ),
    (
        "rolled back",
        service(conditions=conditions(Synced=("False", "RolledBack", "phi--r2 crashed"))),
        "phi serves support@3f9c on 1 of 1 replica, rolled back",
    ),
    (
        "approval",
        service(conditions=conditions(Synced=("False", "AwaitingApproval", "delete it?"))),
        "phi serves support@3f9c on 1 of 1 replica; a plan waits for you: `moorage approve`",
    ),
    (
        "not looked at",
        service(conditions=conditions(Ready=("Unknown", "NotObserved", "")), **SLEEPING),
        "phi has not been looked at yet",
    ),
]


def shown(value, width):
    return [line.plain for line in lines_of(value, "target: local Azure", width)]


@pytest.mark.parametrize(
    ("document", "sentence"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_verdict_is_one_sentence(document, sentence):
    """Second line of the text, whatever the state; nothing else comes before it."""
    value = status(environment(), document)
    assert verdict(value) == sentence
    assert shown(value, None)[1] == sentence


def test_many_services_share_a_sentence():
    """How many are ready, and the names of those that are not, to a limit."""
    bad = conditions(Ready=("False", "RevisionFailed", FAILED))
    documents = [service(f"s{n}", conditions=bad if n < 7 else conditions()) for n in range(30)]
    assert verdict(status(*documents)) == (
        "23 of 30 services are ready; not ready: s0, s1, s2, s3, s4 and 2 more"
    )


@pytest.mark.parametrize("width", [None, 120, 80, 60])
def test_many_services_have_a_line_each(width):
    """A table in place of all that is known; whoever names a service gets all of it."""
    bad = conditions(Ready=("False", "RevisionFailed", FAILED))
    documents = [service(f"s{n}", conditions=bad if n == 7 else conditions()) for n in range(30)]
    lines = shown(status(environment(), *documents), width)
    rows = [line.split() for line in lines if re.match(r"s\d", line)]
    assert [row[:4] for row in rows[:2]] == [
        ["s0", "True", "True", "1/1"],
        ["s1", "True", "True", "1/1"],
    ]
    assert rows[7][1] == "False"
    assert "RevisionFailed" in rows[7]
    assert len(rows) == 30
    assert lines[-1].startswith("`moorage status NAME`") or width == 60
    assert all(len(line) <= (width or 999) for line in lines)
    whole = lines_of(status(*documents), "target: local Azure", width, whole=True)
    assert sum(line.plain.startswith("InferenceService s") for line in whole) == 30


def test_causes_with_one_reason_share_their_remedy():
    """Messages that differ are told one by one, on a terminal the first few; the remedy once."""
    documents = [
        service(f"s{n}", conditions=conditions(Synced=("False", "RolledBack", f"s{n}--r2 crashed")))
        for n in range(30)
    ]
    for width, told in ((None, 30), (100, 4)):
        text = "\n".join(shown(status(*documents), width))
        assert text.count("--r2 crashed") == told
        assert text.count("\n  what to do: ") == text.count("\n  more: ") == 1
    assert "! s4, s5, s6, s7, s8 and 21 more: RolledBack as well" in text


def test_a_heading_that_does_not_fit_has_a_line_for_each_part():
    """No part is broken that fits a line of its own."""
    value = status(service())
    subject = "target: local Azure   documents: moorage.yaml (set moorage-0123456789ab)"
    lines = [line.plain for line in lines_of(value, subject, 60)]
    assert lines[:3] == [*subject.split("   "), "daemon: running (pid 123)"]


def test_nothing_observed_says_how_to_begin():
    """An empty state names the command that fills it."""
    assert verdict(status()) == "nothing has been observed yet; `moorage up` begins"


def test_each_cause_is_told_once_with_its_remedy():
    """Two documents with one cause share its lines; a summary does not repeat its part."""
    quota = ("False", "RevisionFailed", FAILED)
    one = service("one", conditions=conditions(Ready=quota, RevisionHealthy=quota))
    two = service("two", conditions=conditions(Ready=quota))
    (trouble,) = troubles([one, two])
    assert trouble.documents == ("one", "two")
    text = "\n".join(shown(status(one, two), 80))
    assert text.count("what to do: correct what the message names") == 1
    assert "more: moorage explain RevisionFailed" in text


def test_a_cause_stands_once_and_names_resources_shortly():
    """The conditions below point to it; an ARM id is said as type and name."""
    group = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-phi"
    message = f"the scope '{group}/providers/Microsoft.App/containerApps/phi' is locked"
    locked = ("False", "Azure:ScopeLocked", message)
    found = service("phi", conditions=conditions(Ready=("True", "AllGood", ""), Synced=locked))
    text = "\n".join(shown(status(found), 200))
    assert "the scope containerApps/phi is locked" in text
    assert text.count("is locked") == 1
    assert "Azure:ScopeLocked (as above)" in text
    assert "/subscriptions/" not in text


@pytest.mark.parametrize(
    "details", ["UNAUTHORIZED: authentication required", "MANIFEST_UNKNOWN: manifest unknown"]
)
def test_a_message_that_ends_with_the_remedy_does_not_tell_it_twice(details):
    """`up` prints the message alone, so it ends with what to do; the status has a line for that."""
    body = {"code": "ContainerAppOperationError", "message": f"Field 'image' is invalid: {details}"}
    error = translate_operation({"status": "Failed", "error": body})
    assert error.message.endswith(advice(error.reason))
    found = service("phi", conditions=conditions(Synced=("False", error.reason, error.message)))
    (trouble,) = troubles([found])
    assert trouble.message == body["message"]
    assert trouble.remedy == error.reason.remedy


def test_remedies_of_azures_codes_are_found():
    """With the prefix that conditions carry; a word nobody knows has none."""
    assert "quota" in remedy("Azure:SubscriptionConsumptionQuotaReached")
    assert remedy("RevisionFailed").startswith("correct what the message names")
    assert remedy("Nonsense") == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_line_fits_the_terminal(width):
    """With a failure, tables and long names; only a name longer than the line may go beyond."""
    bad = conditions(Ready=("False", "RevisionFailed", FAILED + " with a long explanation" * 5))
    value = status(environment(), service(conditions=bad), service("b" * 12))
    lines = shown(value, width)
    assert [line for line in lines if len(line) > width] == []
    text = "\n".join(lines)
    assert "phi--r549f460d1-w4278l59s-lc7dx" in text
    assert "(3m)" in text


def test_a_pipe_gets_whole_values_and_absolute_times():
    """Names, digests and times are whole, and each value is in one line."""
    text = "\n".join(shown(status(service()), None))
    assert "phi--r549f460d1-w4278l59s-lc7dx" in text
    assert "support@3f9c0000aaaa" in text
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert "ago" not in text


@pytest.mark.parametrize("no_color", [True, False])
def test_colour_is_for_terminals_and_can_be_refused(no_color, monkeypatch):
    """NO_COLOR leaves no colour, and a pipe gets no control sequence at all."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    terminal, pipe = io.StringIO(), io.StringIO()
    for line in lines_of(status(service()), "target: local Azure", 80):
        Console(file=terminal, force_terminal=True, color_system="standard").print(line)
        Console(file=pipe).print(line, soft_wrap=True)
    assert bool(re.search("\x1b\\[[0-9;]*3[0-7]m", terminal.getvalue())) is not no_color
    assert "\x1b" not in pipe.getvalue()


@pytest.mark.parametrize(
    ("reason", "message", "sign"),
    [
        ("RolledBack", "phi--r2 crashed; phi--r1 serves until the document's spec changes", "!"),
        ("RolledBack", "`moorage rollback` asked for it; revision phi--r1 serves", "="),
        ("RolledBack", "`moorage rollback` asked for earlier adapters, and they serve", "="),
        ("RolledBack", "adapter support: 77ab was rolled back by hand; write source: ./a", "="),
        ("RolledBack", "adapter support: 77ab was rolled back: it answers with errors", "!"),
        ("Promoted", "adapter support: 77ab was promoted; write source: ./b", "="),
    ],
)
def test_what_a_person_decided_is_no_trouble(reason, message, sign):
    """Only what failed is red and has a remedy; a decision has a line that says what ends it."""
    found = service(conditions=conditions(Synced=("False", reason, message)))
    told = [line.plain for line in lines_of(status(found), "target: local Azure", None)]
    assert f"{sign} phi: {reason}: {message}" in told
    assert any(line.startswith("  what to do:") for line in told) == (sign == "!")


def test_what_keeps_it_from_being_made_is_told_instead_of_its_absence():
    """`Missing` alone is told; beside the cause it would only say to wait."""
    gone = {"Provisioned": ("False", "Missing", "the container app does not exist")}
    alone = service(conditions=conditions(Ready=("False", "Missing", ""), **gone))
    assert [each.reason for each in troubles([alone])] == ["Missing"]
    policy = ("False", "Azure:RequestDisallowedByPolicy", "disallowed by policy")
    both = service(conditions=conditions(Ready=policy, Synced=policy, **gone))
    assert [each.reason for each in troubles([both])] == [policy[1]]


def test_what_a_person_mends_comes_before_what_waits_for_it():
    """The cause first; a remedy whose command the message names already is not repeated."""
    waits = ("False", "WaitingForReference", "waits for ResourceGroup/x")
    owned = ("False", "OwnedByAnother", "it is another's: `moorage take-over that` takes it over")
    value = status(
        service("a", conditions=conditions(Ready=waits, Synced=waits)),
        service("b", conditions=conditions(Synced=owned)),
    )
    text = "\n".join(str(line) for line in lines_of(value, "", 100))
    assert text.index("! b: OwnedByAnother") < text.index("… a: WaitingForReference")
    assert "what to do" not in text
    assert "moorage explain OwnedByAnother" in text
