"""Fewer ready replicas than `minReplicas`: on their way, or missing, and what is told of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.api.conditions import Status
from reconciler.api.outputs import AppOutputs, ArmView, Revision, SeenReplica
from reconciler.api.resources import ContainerAppSpec
from reconciler.kinds.service.cause import Causes
from reconciler.kinds.service.diagnosis import Situation, diagnose
from reconciler.kinds.service.looks import _replica, _revision
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Action, Step, next_step
from reconciler.kinds.service.trial import PATIENCE, Trials


class Hand:
    """A clock that somebody sets."""

    boot = "one"
    at = 0.0

    def elapsed(self):
        return self.at


STILL = Step(Action.NONE)
HEALTHY = "RevisionHealthy"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SPEC = ContainerAppSpec(
    "web", "rg", "dev", {}, template={"scale": {"minReplicas": 2}}, suffix="r1", serves_model=False
)
REVISION = Revision("web--r1", True, 100, "Healthy", "Running", 1)


def replica(name, ready, age, restarts=0, details=""):
    created = (NOW - timedelta(seconds=age)).isoformat()
    return SeenReplica(name, "web--r1", ready, restarts, created, details)


@pytest.mark.parametrize(
    ("replicas", "late", "why"),
    [
        ([replica("a", True, 900), replica("b", False, 5)], False, "it has just begun to start"),
        ([replica("a", True, 900), replica("b", False, 30, 2)], True, "it crashes"),
        ([replica("a", True, 900), replica("b", False, 600)], True, "a start takes less"),
        ([replica("a", True, 900)], True, "Azure has listed no second one for a quarter hour"),
        ([replica("a", True, 10)], False, "the first is there for ten seconds"),
    ],
)
def test_a_missing_replica_is_given_its_time(replicas, late, why):
    """One that starts is waited for; one that crashes, takes too long or never comes is missing."""
    seen = Seen.of(SPEC, ArmView((REVISION,), tuple(replicas)), [], None, None, NOW)
    assert (seen.missing, seen.proven, seen.late) == (1, True, late), why
    assert seen.lacking.startswith("1 of 2 replicas are ready")


def test_what_is_told_of_it():
    """Its name, Azure's words and how often it was restarted."""
    crashing = replica("b", False, 30, 4, "Container crashing: web")
    seen = Seen.of(
        SPEC, ArmView((REVISION,), (replica("a", True, 90), crashing)), [], None, None, NOW
    )
    assert seen.lacking == (
        "1 of 2 replicas are ready; b: Container crashing: web (restarted 4 times)"
    )


LIMPING = Revision("web--r1", True, 100, "Healthy", "Degraded", 2, "Container crashing: web")


def limping(weight=100, proven=None, needed=1):
    """One replica of two is ready, the other fails."""
    spec = ContainerAppSpec(
        "web", "rg", "dev", {}, template={"scale": {"minReplicas": needed}}, suffix="r1",
        serves_model=False,
    )  # fmt: skip
    pair = (replica("a", True, 900), replica("b", False, 900, 4, "mount error(13)"))
    arm = ArmView((replace(LIMPING, weight=weight),), pair)
    return Seen.of(spec, arm, [], None, proven, NOW)


async def test_a_replica_that_fails_beside_a_ready_one_is_told_and_no_outage():
    """Azure calls the revision Degraded and healthy: requests are answered, so Ready stays, and the
    failing replica is named, also where `minReplicas` are ready without it.
    """
    seen = limping()
    assert (seen.serves, seen.missing) == (True, 0)
    (mark,) = [each for each in seen.marks({"properties": {}}, STILL) if each.type == HEALTHY]
    assert mark.status == "True"
    causes = Causes(None, lambda: 100.0)
    causes._known = {"web--r1 lacks": (100.0, "")}
    diagnosis = await diagnose(causes, Situation(seen.spec, {}, seen, STILL))
    assert diagnosis.reason == "ReplicasMissing"
    assert diagnosis.message == "1 of 2 replicas are ready; b: mount error(13) (restarted 4 times)"


@pytest.mark.parametrize("health", ["Unhealthy", "None"])
def test_a_degraded_revision_without_health_has_failed(health):
    """Without a ready replica nobody is answered."""
    revision = replace(LIMPING, health=health)
    assert (revision.serving, revision.failed, revision.limps) == (False, True, False)


async def test_a_new_revision_of_which_a_replica_fails_takes_no_traffic():
    """The rollout waits, and after the patience for a failing revision it is rolled back."""
    seen, old = limping(weight=0), Revision("web--r0", True, 100, "Healthy", "Running", 1)
    clock = Hand()
    trials = Trials(None, clock)
    boot = trials.boot(seen, None)
    verdict = await trials.judge(seen, boot, {}, 0)
    step = next_step("web--r1", "Surge", [old, seen.wanted], {"web--r0": 100}, verdict)
    assert (step.action, verdict.failed) == (Action.WAIT, "")
    assert "1 of 2 replicas are ready" in step.message
    clock.at = PATIENCE
    verdict = await trials.judge(seen, boot, {}, 0)
    step = next_step("web--r1", "Surge", [old, seen.wanted], {"web--r0": 100}, verdict)
    assert (step.action, step.revisions) == (Action.HOLD, ("web--r1", "web--r0"))
    assert "mount error(13)" in step.message


def test_azures_words_are_read_as_one_line():
    """An error of a mount has two lines, which no table and no log has room for."""
    said = "exit status 32\nOutput: mount error(13): Permission denied"
    entry = {"name": "r", "properties": {"provisioningError": said}}
    assert "\n" not in _revision(entry).error
    container = {"ready": False, "runningStateDetails": said}
    entry = {"name": "a", "properties": {"containers": [container]}}
    assert "32 Output: mount error(13)" in _replica(entry, "r").details


def test_what_still_serves_is_ready_while_the_next_engine_is_on_its_way():
    """Reports of the revision before are not read then, so Azure's word counts for its replicas; a
    replica of the wanted revision is ready only when it reports so.
    """
    spec = replace(SPEC, serves_model=True, suffix="r2")
    before = replica("a", True, 900)
    new = replace(replica("b", True, 30), revision="web--r2")
    seen = Seen.of(spec, ArmView((REVISION,), (before, new)), [], None, None, NOW)
    rows = seen.outputs(AppOutputs()).replicas
    assert [(each.name, each.ready) for each in rows] == [("a", True), ("b", False)]


@pytest.mark.parametrize(
    ("suffix", "provisioned", "reason"),
    [
        ("r1", False, "what the document asks for was refused"),
        ("r9", True, "the refused template is one that the document does not ask for any more"),
        (None, False, "nothing says which template was refused"),
    ],
)
def test_a_refused_template_that_is_not_asked_for_any_more_is_no_failure(
    suffix, provisioned, reason
):
    """Azure keeps the state Failed of the app, and the revision that the document asks for serves."""
    replicas = (replica("a", True, 900), replica("b", True, 900))
    seen = Seen.of(SPEC, ArmView((REVISION,), replicas), [], None, None, NOW)
    template = {"revisionSuffix": suffix, "containers": []}
    failed = {"provisioningState": "Failed", "deploymentErrors": "no image", "template": template}
    mark = seen.marks({"properties": failed}, STILL)[0]
    assert (mark.status is Status.TRUE) is provisioned, reason
    assert ("no image" in mark.message) is not provisioned
