"""Whether an endpoint is reachable: the app must have answered, and the ingress does not count. What
keeps the daemon from the ingress is held against no app.
"""

from datetime import UTC, datetime

import pytest

from reconciler.api.outputs import ArmView, Revision
from reconciler.api.resources import ContainerAppSpec, RolloutStep
from reconciler.engine.urgency import urgency
from reconciler.kinds.service.api_keys import PREFIX
from reconciler.kinds.service.endpoint import Endpoints, reach
from reconciler.kinds.service.evaluation import REFUSED, Evaluations
from reconciler.kinds.service.replicas import Seen
from reconciler.kinds.service.rollout import Verdict
from reconciler.kinds.service.smoke import smoke
from reconciler.kinds.service.trial import BLIND, WRONG, Trials
from serving.catalogue import Expectation

NO_APP = "Error 404 - This Container App is stopped or does not exist."
SPEC = ContainerAppSpec(
    "web", "rg", "dev", {"properties": {"configuration": {"ingress": {"external": True}}}},
    template={"scale": {"minReplicas": 1}}, suffix="r1", serves_model=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, "hello", "Reachable"),
        (404, "no such page", "Reachable"),
        (500, "the app's own fault", "Reachable"),
        (404, NO_APP, "Unreachable"),
        (404, {"error": {"code": 404, "message": NO_APP}}, "Unreachable"),
        (503, "upstream connect error", "Unreachable"),
    ],
)
async def test_only_the_apps_own_answer_counts(arm, scripted, status, body, reason):
    """Its errors too; but not the ingress's page for an app without an active revision."""
    scripted.on("GET", "/", status, body)
    mark = await reach(arm, SPEC, scripted.url)
    assert (mark.reason, mark.status) == (reason, str(reason == "Reachable"))


async def test_a_save_does_not_wait_for_the_endpoint(arm, scripted):
    """Right before a write that a person waits for, the last answer counts. Every other look asks,
    one that finds a difference which nobody may write too.
    """
    scripted.on("GET", "/", 200, "hello")
    endpoints = Endpoints(arm)

    async def asked(*, writes, waited_for):
        before = len(scripted.asked)
        with urgency(waited_for=waited_for):
            (mark,) = await endpoints.ask(SPEC, scripted.url, writes=writes)
        assert mark.reason == "Reachable"
        return len(scripted.asked) - before

    assert await asked(writes=True, waited_for=True) == 1  # nothing is known yet
    assert await asked(writes=True, waited_for=True) == 0
    assert await asked(writes=False, waited_for=True) == 1
    assert await asked(writes=True, waited_for=False) == 1


class Hand:
    """A clock that somebody sets."""

    boot = "one"

    def __init__(self):
        self.at = 0.0

    def now(self):
        return self.at

    def elapsed(self):
        return self.at


OLD, NEW = "web--r0", "web--r1"


def found(scripted):
    """The app as Azure returns it, at the scripted server's address."""
    ingress = {"fqdn": scripted.url.removeprefix("https://"), "external": True}
    return {"name": "web", "properties": {"configuration": {"ingress": ingress}}}


def seen(*, old_serves=True):
    """A new revision that is healthy, beside the old one, which has the traffic."""
    old = Revision(OLD, old_serves, 100, "Healthy", "Running", 1)
    arm = ArmView((old, Revision(NEW, True, 0, "Healthy", "Running", 1)))
    return Seen.of(SPEC, arm, [], None, None, datetime(2026, 1, 1, tzinfo=UTC))


async def judged(trials, scripted, at, **kwargs):
    trials.clock.at = at
    return await trials.judge(seen(**kwargs), None, found(scripted), 0)


@pytest.mark.parametrize(
    ("status", "body", "nobody"),
    [
        (503, "no way out", 503),
        (502, "bad gateway", 302),
        (403, "RBAC: access denied", 404),
    ],
)
async def test_what_keeps_the_daemon_out_is_no_word_on_the_app(arm, scripted, status, body, nobody):
    """A proxy, or the app's own IP restrictions: the endpoint is unknown instead of unreachable,
    and its revision is not blamed.
    """
    scripted.nobody = nobody
    scripted.on("GET", "/", status, body)
    mark = await reach(arm, SPEC, scripted.url)
    assert (mark.reason, mark.status) == ("OutOfReach", "Unknown")
    assert (await smoke(arm, SPEC, NEW, found(scripted))).unseen


async def test_an_endpoint_without_a_way_there_is_unknown(arm):
    """Nothing listens, or the name is known to nobody."""
    for endpoint in ("https://127.0.0.1:9", "https://web.does-not-exist.invalid"):
        mark = await reach(arm, SPEC, endpoint)
        assert (mark.reason, mark.status) == ("OutOfReach", "Unknown")
        assert "cannot be reached: ClientConnector" in mark.message


@pytest.mark.parametrize(("old_serves", "patience"), [(True, BLIND), (False, WRONG)])
async def test_a_daemon_cut_off_from_the_ingress_rolls_nothing_back(
    arm, scripted, old_serves, patience
):
    """Azure's word must do after a while, which is short where no replica serves meanwhile."""
    scripted.nobody = 503
    scripted.on("GET", "/", 503, "proxy")
    trials = Trials(arm, Hand())
    for at in (0.0, patience - 1):
        verdict = await judged(trials, scripted, at, old_serves=old_serves)
        assert (verdict.failed, verdict.answered) == ("", False)
        assert "does not reach the ingress" in verdict.message
    for at in (patience, 10 * SPEC.deadline_seconds):
        assert await judged(trials, scripted, at, old_serves=old_serves) == Verdict()


async def test_a_wrong_answer_counts_once_the_way_is_open(arm, scripted):
    """The time without a way there is not held against the revision; its own answer is."""
    scripted.nobody = 503
    scripted.on("GET", "/", 503, "proxy")
    scripted.on("GET", "/", 500, "the app's own fault")
    trials = Trials(arm, Hand())
    assert not (await judged(trials, scripted, 0.0)).failed
    scripted.nobody = 404
    assert not (await judged(trials, scripted, 50.0)).failed
    assert "answers 500" in (await judged(trials, scripted, 50.0 + WRONG)).failed


async def test_a_step_with_an_evaluation_waits_for_the_way(arm, scripted):
    """The prompts must be answered, so the rollout neither goes on nor back."""
    steps = (RolloutStep(10, 0, (Expectation(prompt="1+1=", expect="2"),)),)
    spec = ContainerAppSpec(
        "web", "rg", "dev", SPEC.body, template=SPEC.template, suffix="r1", steps=steps
    )
    clock = Hand()
    evaluations = Evaluations(arm, clock)
    scripted.nobody = 503
    scripted.on("POST", "/v1/chat/completions", 503, "proxy")
    for clock.at in (0.0, 10_000.0):
        answered = await evaluations.ask(spec, 10, found(scripted))
        assert not answered.failed
        assert "does not reach the ingress" in answered.unmet


def asking(*prompts, evaluator=""):
    steps = (RolloutStep(10, 0, tuple(Expectation(prompt=one, expect="2") for one in prompts)),)
    return ContainerAppSpec(
        "web", "rg", "dev", SPEC.body, template=SPEC.template, suffix="r1", steps=steps,
        evaluator=evaluator,
    )  # fmt: skip


CHAT = "/v1/chat/completions"
TWO = {"choices": [{"message": {"content": "2"}}]}


async def test_prompts_that_are_edited_during_a_step_are_asked_anew(arm, scripted):
    """Also when fewer are left than were answered already, and the last one was refused."""
    for status, body in ((200, TWO), (200, TWO), (503, "busy"), (200, TWO)):
        scripted.on("POST", CHAT, status, body)
    evaluations, before = Evaluations(arm, Hand()), asking("1+1=", "3-1=", "4/2=")
    for _ in range(2):
        await evaluations.ask(before, 10, found(scripted))
    assert "answers 503" in (await evaluations.ask(before, 10, found(scripted))).unmet
    answered = await evaluations.ask(asking("5-3=", "1+1="), 10, found(scripted))
    assert (answered.failed, answered.unmet) == ("", "1 of 2 prompts are to be answered")


async def test_a_key_that_is_rotated_during_a_step_is_read_again(arm, scripted, monkeypatch):
    """A 401 with the old key is no word on the revision."""
    keys = iter(["old", "new"])

    async def secrets(*_):
        return {f"{PREFIX}check": next(keys)}

    monkeypatch.setattr("reconciler.arm.apps.list_secrets", secrets)
    scripted.on("POST", CHAT, 401, {"error": {"message": "no such key"}})
    scripted.on("POST", CHAT, 200, TWO)
    spec, clock = asking("1+1=", evaluator="check"), Hand()
    evaluations = Evaluations(arm, clock)
    assert not (await evaluations.ask(spec, 10, found(scripted))).failed
    clock.at = REFUSED + 1
    answered = await evaluations.ask(spec, 10, found(scripted))
    assert (answered.failed, answered.unmet) == ("", "")
    given = [each["Authorization"] for each in scripted.headers if "Authorization" in each]
    assert given[-2:] == ["Bearer old", "Bearer new"]


async def test_an_app_tells_neither_the_time_nor_azures_pace(arm, scripted):
    """What it answers is the user's: a Date of next century would make everything garbage."""
    date, wait = "Thu, 01 Jan 2099 00:00:00 GMT", "3000"
    scripted.on("GET", "/", 429, "busy", {"Date": date, "Retry-After": wait})
    for _ in range(2):
        await reach(arm, SPEC, scripted.url)
    assert arm.time.now().year < 2099
    assert len(scripted.asked) == 2
