"""What becomes of a canary: from the document, the catalogue and the replicas' words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.api.resources import CatalogueAdapter, CatalogueCanary, Order
from reconciler.kinds.catalogue.canary import asked, explained, hold, versions
from serving.catalogue import (
    Adapter,
    AdapterReport,
    AdapterVersion,
    Canary,
    CanaryReport,
    Expectation,
    Held,
    ReplicaReport,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO, OLD = (
    ("1" * 64, "adapters/red/1"),
    ("2" * 64, "adapters/red/2"),
    ("0" * 64, "adapters/red/0"),
)


def version(pair):
    return AdapterVersion(digest=pair[0], path=pair[1])


def document(**canary):
    trial = CatalogueCanary(
        *TWO, "./two", **{"weight": 10, "max_error_rate": 0.05, "promote_after": 600, **canary}
    )
    return CatalogueAdapter("red", *ONE, True, "./one", canary=trial)


PLAIN = CatalogueAdapter("red", *ONE, True, "./one")
TRIAL = Adapter(name="red", desired=version(ONE), canary=Canary(version=version(TWO), weight=10))


def report(
    replica="a",
    *,
    state="Loaded",
    reason="Proven",
    message="",
    age=60,
    requests=0,
    errors=0,
    digest=TWO[0],
):
    canary = CanaryReport(
        digest=digest,
        state=state,
        reason=reason,
        message=message,
        requests=requests,
        errors=errors,
        loaded_at=NOW - timedelta(seconds=age) if state == "Loaded" else None,
    )
    adapter = AdapterReport(
        name="red", digest=ONE[0], desired=ONE[0], state="Loaded", canary=canary
    )
    return ReplicaReport(
        replica=replica,
        revision="r",
        pid=1,
        started_at=NOW,
        heartbeat=NOW,
        generation=1,
        model_loaded=True,
        ready=True,
        adapters=(adapter,),
    )


@pytest.mark.parametrize(
    ("reports", "outcome", "said", "reason"),
    [
        ([], None, "", "nobody reports"),
        ([report()], None, "", "well, but not for long enough"),
        ([report(age=600)], "Promoted", "well for 600 s", "well for long enough"),
        (
            [report(age=600), report("b", age=1)],
            "Promoted",
            "",
            "the oldest replica counts, or scaling would never let it pass",
        ),
        ([report(age=600), report("b", state="Loading")], None, "", "one has not loaded it"),
        (
            [report(age=600), report("b", state="Failed", reason="NoCapacity")],
            None,
            "",
            "one cannot load it now, perhaps later",
        ),
        (
            [report(age=600), report("b", digest="9" * 64)],
            None,
            "",
            "one still speaks of another canary",
        ),
        ([report(requests=100, errors=5)], None, "", "as many errors as are allowed"),
        ([report(requests=100, errors=6)], "RolledBack", "6 of 100 requests failed", "one more"),
        (
            [report(requests=60, errors=3), report("b", requests=40, errors=3)],
            "RolledBack",
            "6 of 100",
            "all replicas together",
        ),
        ([report(requests=1, errors=1)], None, "", "one failure says little"),
        ([report(requests=2, errors=2)], "RolledBack", "2 of 2", "two are more than 5 % of twenty"),
        (
            [report(age=600, requests=9, errors=9)],
            "RolledBack",
            "9 of 9",
            "errors weigh more than time",
        ),
        (
            [report(reason="SameAsBase")],
            "RolledBack",
            "answers like the base model",
            "a failed proof",
        ),
        (
            [report(), report("b", state="Failed", reason="EvaluationFailed", message="no")],
            "RolledBack",
            "on b: no",
            "evaluation",
        ),
        (
            [report(state="Failed", reason="LoadFailed", message="vLLM says no")],
            "RolledBack",
            "vLLM says no",
            "will not load",
        ),
        (
            [report(state="Failed", reason="NotFinite", message="NaN")],
            "RolledBack",
            "NotFinite on a: NaN",
            "it overflows",
        ),
        ([report(state="Failed", reason="NotPublished")], None, "", "not there yet"),
    ],
)
def test_what_replicas_say_decides(reports, outcome, said, reason):
    """Rolled back for errors, a failed proof or evaluation, or bytes that cannot be loaded;
    promoted after being well.
    """
    held = hold(document(), TRIAL, reports, NOW)
    assert (held.outcome if held else None) == outcome, reason
    assert said in (held.message if held else "")


def test_a_rate_of_nothing_allows_no_error_and_without_a_time_nobody_is_promoted():
    """The document's own numbers are followed."""
    assert (
        hold(document(max_error_rate=0.0), TRIAL, [report(requests=1000, errors=1)], NOW).outcome
        == "RolledBack"
    )
    assert (
        hold(document(max_error_rate=1.0), TRIAL, [report(requests=1000, errors=1000)], NOW) is None
    )
    assert hold(document(promote_after=None), TRIAL, [report(age=10**6)], NOW) is None


def test_a_replica_that_has_not_seen_the_catalogue_does_not_count():
    """What it says may be of an earlier trial of the same bytes; nor is anything promoted before it
    has seen it.
    """
    bad, good = report(requests=50, errors=50), report("b", age=600)
    assert hold(document(), TRIAL, [bad], NOW, since=(0, 2)) is None
    assert hold(document(), TRIAL, [bad], NOW, since=(0, 1)).outcome == "RolledBack"
    late = bad.model_copy(update={"generation": 1})
    assert (
        hold(
            document(), TRIAL, [good.model_copy(update={"generation": 2}), late], NOW, since=(0, 2)
        )
        is None
    )


def test_a_canary_that_replicas_have_not_been_told_of_is_not_judged():
    """Reports of an earlier one of the same bytes say nothing of this trial."""
    assert hold(document(), None, [report(errors=50, requests=50)], NOW) is None
    other = TRIAL.model_copy(update={"canary": Canary(version=version(OLD), weight=10)})
    assert hold(document(), other, [report(errors=50, requests=50)], NOW) is None


def carried(adapter, before, reports=(), now=NOW):
    """The next catalogue's adapter, as adapter_catalogue makes it."""
    held = hold(adapter, before, reports, now)
    desired, canary = versions(adapter, before, held)
    return Adapter(
        name="red",
        desired=desired,
        canary=canary,
        held=held,
        last_good=before.last_good if before else None,
    )


def test_a_decision_stands_until_the_document_changes():
    """Whatever replicas say later; every word of the document on the adapter counts as a change,
    where it lies does not.
    """
    there = carried(document(), TRIAL, [report(requests=100, errors=50)])
    assert (there.desired, there.canary, there.held.outcome) == (version(ONE), None, "RolledBack")
    assert carried(document(), there, [report(age=6000)]) == there
    moved = replace(document(), canary=replace(document().canary, source="./elsewhere"))
    assert carried(moved, there) == there
    for changed in (
        document(weight=20),
        document(max_error_rate=0.5),
        document(evaluation=(Expectation(prompt="x", expect="y"),)),
        replace(document(), canary=replace(document().canary, digest="3" * 64)),
        replace(document(), digest="4" * 64),
    ):
        again = carried(changed, there)
        assert again.held is None
        assert again.canary is not None


def test_what_was_promoted_stays_when_the_document_follows():
    """The edit that the message names ends the hold and changes no version."""
    there = carried(document(), TRIAL, [report(age=600)])
    assert (there.desired, there.canary, there.held.outcome) == (version(TWO), None, "Promoted")
    reason, message = explained(document(), there.held, there.desired)
    assert reason == "Promoted"
    assert "write source: ./two and take canary out" in message
    followed = carried(CatalogueAdapter("red", *TWO, True, "./two"), there)
    assert (followed.desired, followed.held) == (version(TWO), None)


def order(adapter, action, seconds=0):
    return replace(
        adapter, order=Order(action, asked(adapter), (NOW + timedelta(seconds=seconds)).timestamp())
    )


def test_a_person_decides_at_any_time_and_the_last_word_counts():
    """Promote, then roll back, then promote again; the same order read again changes nothing."""
    there = carried(order(document(), "promote", 1), TRIAL)
    assert (there.desired, there.held.outcome) == (version(TWO), "Promoted")
    assert carried(order(document(), "promote", 1), there) == there
    back = carried(order(document(), "rollback", 2), there)
    assert (back.desired, back.held.outcome) == (version(ONE), "RolledBack")
    assert carried(order(document(), "rollback", 2), back) == back
    assert carried(order(document(), "promote", 3), back).desired == version(TWO)


def test_without_a_canary_a_rollback_goes_to_the_last_good_version():
    """It is held there, read from the catalogue alone, until the document changes or a person lets
    it forward again.
    """
    before = Adapter(name="red", desired=version(ONE), last_good=version(OLD))
    back = carried(order(PLAIN, "rollback", 1), before)
    assert (back.desired, back.held.outcome) == (version(OLD), "RolledBack")
    reason, message = explained(PLAIN, back.held, back.desired)
    assert reason == "RolledBack"
    assert "source: share://adapters/red/0" in message
    again = carried(
        order(PLAIN, "rollback", 1), back.model_copy(update={"last_good": version(ONE)})
    )
    assert (again.desired, again.held) == (back.desired, back.held)
    assert carried(PLAIN, back).desired == version(OLD), "the daemon lost its memory"
    forward = carried(order(PLAIN, "promote", 2), back)
    assert (forward.desired, forward.held) == (version(ONE), None)
    assert (
        carried(order(replace(PLAIN, digest="5" * 64), "rollback", 1), None).desired.digest
        == "5" * 64
    ), "nothing to go back to"


def test_an_order_for_another_document_says_nothing():
    """It was given for words that have changed since."""
    stale = replace(document(weight=20), order=Order("promote", asked(document()), NOW.timestamp()))
    assert hold(stale, TRIAL, [], NOW) is None
    held = Held(asked="other", outcome="RolledBack", message="", at=NOW)
    assert hold(document(), TRIAL.model_copy(update={"held": held}), [], NOW) is None
