"""Every reason in every condition, as `moorage status` prints it: the cause, what to do, and whether
anything serves meanwhile.
"""

import pytest

from reconciler.api.conditions import Condition, ConditionType
from reconciler.api.reasons import AzureCode, Reason
from reconciler.api.symptoms import rank
from reconciler.arm.errors import TABLE
from reconciler.cli.output.status_text import lines_of
from reconciler.cli.output.verdict import remedy, troubles
from reconciler.web.axes import causes_of
from tests.cli.statuses import condition, conditions, environment, service, status

ABNORMAL = ("Stalled", "Drifted")
TYPES = [str(kind) for kind in ConditionType if kind is not ConditionType.PROGRESSING]
# All is well with these, or they are only events: no condition that complains has them.
NEVER = {
    Reason.IN_SYNC, Reason.PROVISIONED, Reason.PUBLISHED, Reason.HEALTHY, Reason.LOADED,
    Reason.PROVEN, Reason.REACHABLE, Reason.ALL_GOOD, Reason.READY, Reason.LEADING, Reason.NO_DRIFT,
    Reason.NOT_STALLED, Reason.DELETED, Reason.RELEASED, Reason.GARBAGE_COLLECTED, Reason.RECOVERED,
    Reason.DECIDED,
}  # fmt: skip
WORDS = [*(str(each) for each in Reason if each not in NEVER), *map(AzureCode, TABLE)]
WORDS += ["Azure:Http404", "Azure:Http503", "Azure:SomethingNew"]
OF_A_PERSON = ("ScaledToZero", "Skipped")  # Unknown, because a document asks for it


def shown(document):
    return [line.plain for line in lines_of(status(document), "target: local Azure", 80)]


def complaint(lines, word):
    """The lines of the complaint with this reason, up to the next one."""
    begin = next(i for i, line in enumerate(lines) if line[:1] in "!…=" and f": {word}" in line)
    rest = lines[begin + 1 :]
    end = next(i for i, line in enumerate(rest) if not line.startswith("  "))
    return lines[begin : begin + 1 + end]


@pytest.mark.parametrize("word", WORDS)
def test_what_is_not_well_says_why_and_what_to_do(word):
    """In every condition, with and without a message: its reason, a cause and a remedy, unless it
    passes by itself, which its sign says.
    """
    for kind in TYPES:
        state = "True" if kind in ABNORMAL else "False"
        for message in ("web: Azure said so", ""):
            others = [each for each in conditions() if each["type"] != kind]
            bad = condition(kind, state, word, message)
            for document in (
                service(conditions=[*others, bad]),
                environment() | {"conditions": [*others, bad]},
            ):
                lines = shown(document)
                told = complaint(lines, word)
                if told[0].startswith("!"):
                    assert any(line.startswith("  what to do: ") for line in told), (kind, told)
                    assert f"  more: moorage explain {word}" in told
                assert not told[0].rstrip().endswith(":"), (kind, told)


@pytest.mark.parametrize("word", WORDS)
def test_what_is_not_known_is_told_as_well(word):
    """Unknown is told like False, unless a document asks for what makes it unknown."""
    others = [each for each in conditions() if each["type"] != "Ready"]
    bad = condition("Ready", "Unknown", word, "nobody could look")
    lines = shown(service(conditions=[*others, bad]))
    if word in OF_A_PERSON:
        assert not any(line.startswith(("!", "…")) for line in lines)
    else:
        assert complaint(lines, word)


def test_what_serves_meanwhile_is_in_the_first_sentence():
    """Whether anything answers stands before any cause."""
    failed = conditions(Synced=("False", "RevisionFailed", "revision phi--r2: Container crashing"))
    assert shown(service(conditions=failed))[1].startswith("phi serves support@3f9c")
    down = conditions(Ready=("False", "RevisionFailed", "revision phi--r1: Container crashing"))
    lines = shown(service(conditions=down, replicas=[], revisions=[]))
    assert lines[1].startswith("phi does not serve")


def test_a_cause_is_told_once_in_its_fullest_words():
    """A summary that says more of the same cause takes the place of its part; the remedy at the end
    of a message is not printed twice.
    """
    part = ("False", "RevisionFailed", "revision phi--r1: mount error(13)")
    whole = ("False", "RevisionFailed", "revision phi--r1 is Failed: mount error(13). last output")
    lines = shown(service(conditions=conditions(Ready=part, RevisionHealthy=part, Synced=whole)))
    assert [line for line in lines if line.startswith("!")] == [
        f"! phi: {whole[1]}: {whole[2]}"[:80]
    ]
    hint = "Remove the lock, or set reconcilePolicy: Observe."
    locked = ("False", "Azure:ScopeLocked", f"it is locked. {hint}")
    lines = shown(service(conditions=conditions(Synced=locked)))
    told = " ".join(complaint(lines, "Azure:ScopeLocked"))
    assert told.count("Remove the lock") == 1


SAID = [word for word in WORDS if word not in OF_A_PERSON]
FOLLOWS = [word for word in SAID if rank(word, remedy(word)) == 1]
CAUSES = [word for word in SAID if rank(word, remedy(word)) == 0]


def test_the_ranks_are_those_that_a_person_would_give():
    """The causes that people meet first, what follows from them, and no reason without a rank."""
    assert {"RevisionFailed", "ReplicasMissing", "ImageNotFound", "Azure:ScopeLocked"} <= set(
        CAUSES
    )
    assert {"AwaitingApproval", "SourceUnreadable", "RolledBack"} <= set(CAUSES)
    assert {"ReportStale", "Unreachable", "NotReady", "OperationFailed"} <= set(FOLLOWS)
    assert all(rank(word, remedy(word)) == 2 for word in ("Starting", "WaitingForReference"))


@pytest.mark.parametrize("symptom", FOLLOWS)
def test_a_cause_is_told_before_what_follows_from_it(symptom):
    """Whatever the cause is, and whichever conditions carry the two, one document or two."""
    for cause in CAUSES:
        for first, second in (("AdaptersLoaded", "RevisionHealthy"), ("Provisioned", "Ready")):
            for one, other in ((symptom, cause), (cause, symptom)):
                bad = [
                    condition(first, "False", one, "one"),
                    condition(second, "Unknown", other, "2"),
                ]
                others = [each for each in conditions() if each["type"] not in (first, second)]
                whole = [service(conditions=[*others, *bad])]
                apart = [
                    service(name, conditions=[*others, each])
                    for name, each in zip("ab", bad, strict=True)
                ]
                for documents in (whole, apart):
                    told = [each.reason for each in troubles(documents)]
                    assert told[0] == cause, (cause, symptom, told)


@pytest.mark.parametrize("symptom", FOLLOWS)
def test_the_page_gives_the_same_order(symptom):
    """Its first cause is the one that the status names first."""
    for cause in ("RevisionFailed", "Azure:ScopeLocked", "SourceUnreadable"):
        bad = [
            condition("Ready", "False", symptom, "one"),
            condition("Synced", "False", cause, "2"),
        ]
        others = [each for each in conditions() if each["type"] not in ("Ready", "Synced")]
        found = [Condition.load(each) for each in (*others, *bad)]
        told = causes_of({each.type: each for each in found})
        assert told[0].reason == cause
