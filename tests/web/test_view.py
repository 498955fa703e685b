"""What the page says of a document, built from the store alone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.api.conditions import ConditionSet, ConditionType, Status
from reconciler.api.kinds import Kind
from reconciler.api.outputs import AppOutputs
from reconciler.api.reasons import AzureCode, Reason
from reconciler.cli.output.verdict import verdict as verdict_of_status
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import Phase
from reconciler.leadership import Leadership
from reconciler.page import SHARE, DaemonPage
from reconciler.web.axes import causes_of
from reconciler.web.effects import approval_effects, digest_of, rollback_effects
from reconciler.web.stages import StageState
from reconciler.web.status import status_of
from reconciler.web.traffic import by_revision, by_version
from reconciler.web.verdict import Answering, environment_verdict, service_verdict
from reconciler.web.view import snippets_of, stages
from tests.web.worlds import BOOT, LINES, NOW, World, broken, many


def _view(state, name="phi"):
    world = World()
    world.service(name, state)
    view = world.look()
    return world, view, view.find("InferenceService", name)


@pytest.mark.parametrize(
    ("state", "sync", "health", "verdict"),
    [
        ("serves", "Synced", "Healthy", "phi serves support@3f9c, sales@3f9c on 2 of 2 replicas."),
        ("asleep", "Synced", "Asleep", "no replica runs, a request starts one."),
        ("starts", "Syncing", "Starting", "phi does not serve yet: a replica reads the model."),
        ("fails", "Out of sync", "Degraded", "phi does not serve: the container of revision"),
        (
            "stalls",
            "Out of sync",
            "Degraded",
            "does not serve, and waits for you: the subscription",
        ),
        ("waits", "Waits for approval", "Healthy", "; a plan waits for you."),
        ("manual", "Waits for approval", "Healthy", "; a plan waits for you."),
        (
            "held",
            "Held",
            "Healthy",
            "on 1 of 1 replica, rolled back: revision phi--r2 did not serve.",
        ),
        ("unknown", "Synced", "Unknown", "phi may or may not serve: Azure does not answer."),
    ],
)
def test_sync_and_health_are_two_axes(state, sync, health, verdict):
    """One may be well while the other is not, and the verdict says both in one sentence."""
    _, view, phi = _view(state)
    assert (phi.sync.word, phi.health.word) == (sync, health)
    assert verdict in phi.verdict
    assert phi.verdict == view.verdict


@pytest.mark.parametrize("state", ["serves", "asleep", "waits", "manual", "held"])
def test_the_page_and_the_command_say_the_same(state):
    """A colleague who reads the page and one who types `moorage status` speak of one thing."""
    world, _, phi = _view(state)
    said = verdict_of_status(status_of(world.store, "local Azure", {}))
    why = ": revision phi--r2 did not serve" if state == "held" else ""  # `status` says it below
    assert phi.verdict == f"{said.removesuffix(': `moorage approve`')}{why}."


def test_a_failure_has_its_cause_its_remedy_and_its_log_lines():
    """A night's failure is understood from the page alone, and each cause stands there once."""
    _, _, phi = _view("fails")
    (cause,) = phi.causes
    assert cause.reason == "RevisionFailed"
    assert cause.lines == tuple(LINES.split(" | "))
    assert cause.message.endswith("last output is below. phi--r1 still serves")
    assert "moorage logs" in cause.remedy


def test_what_only_takes_its_time_is_no_cause():
    """A start is told by its stages and not as a fault."""
    assert _view("starts")[2].causes == ()


def test_a_roll_up_leads_to_the_resource_that_explains_it():
    """The container app waits for a job; the job is the leaf."""
    _, _, phi = _view("stalls")
    assert phi.leaf == ObjectKey(Kind.JOB, "phi")
    app = next(node for node in phi.nodes if node.key.kind == Kind.APP)
    assert app.leaf == ObjectKey(Kind.JOB, "phi")
    assert {node.leaf for node in _view("serves")[2].nodes} == {None}


def test_the_resources_come_before_what_stands_on_them():
    """Those that the Environment lends are among them."""
    _, _, phi = _view("serves")
    order = [node.key for node in phi.nodes]
    for node in phi.nodes:
        assert all(order.index(ref) < order.index(node.key) for ref in node.refs)
    assert ObjectKey(Kind.RESOURCE_GROUP, "default") in order


def test_a_start_is_told_in_stages_against_its_prediction():
    """What is done, what goes on since when, and what is to come."""
    world, view, phi = _view("starts")
    found = {stage.name: stage for stage in stages(world.store, view, phi)}
    assert found["Azure resources"].state is StageState.DONE
    assert found["Revision"].state is StageState.DONE
    assert (found["Replica"].state, found["Replica"].seconds) == (StageState.NOW, 41.0)
    assert found["Replica"].predicted == 300
    assert found["Adapters"].state is StageState.TO_COME


@pytest.mark.parametrize(
    ("state", "name"), [("stalls", "Files on the share"), ("fails", "Revision")]
)
def test_a_stage_that_failed_ends_the_way(state, name):
    """It says why, and nothing after it is said to be done."""
    world, view, phi = _view(state)
    found = stages(world.store, view, phi)
    failed = next(stage for stage in found if stage.state is StageState.FAILED)
    assert failed.name == name
    assert failed.message
    after = found[found.index(failed) + 1 :]
    assert {stage.state for stage in after} <= {StageState.TO_COME}


def test_nothing_happens_where_all_is_well():
    """A service at rest shows no stages."""
    world, view, phi = _view("serves")
    assert stages(world.store, view, phi) == ()


def test_the_history_says_what_each_generation_changed():
    """The daemon noted the fields when it wrote them."""
    _, _, phi = _view("serves")
    assert [each.revision for each in phi.generations] == ["phi--r2", "phi--r1"]
    assert phi.generations[0].changes == ("template.containers[vllm].args", "template.scale")


def test_an_adapter_stands_against_each_replica():
    """What each replica answers with, by digest, and what it still loads."""
    _, _, phi = _view("starts")
    (support, sales) = phi.adapters
    assert [cell[:2] for cell in support.cells.values()] == [("3f9c21aa", "Loading")]
    assert [cell[:2] for cell in sales.cells.values()] == [("3f9c21aa", "Loaded")]
    assert (phi.billed, phi.idle) == (1, 1)


def test_an_approval_says_what_stops():
    """A deletion names the service that stops; a change names what its strategy does to callers."""
    _, view, phi = _view("waits")
    texts = [effect.text for effect in approval_effects(view, phi, "Surge") if effect.stops]
    assert texts == ["phi stops serving."]
    _, view, phi = _view("manual")
    (effect,) = approval_effects(view, phi, "Recreate")
    assert effect.stops
    assert "If that needs a new revision, phi does not serve while it starts" in effect.text
    assert "5 m predicted" in effect.text
    assert effect.changes[0] == "template.scale.maxReplicas: 1 -> 4"
    (kept,) = approval_effects(view, phi, "Surge")
    assert not kept.stops
    assert digest_of((effect,)) != digest_of((kept,))


def test_a_replacement_of_what_others_stand_on_stops_them_all():
    """The managed environment is deleted and created again: every app in it is named."""
    world = World()
    world.service("a")
    world.service("b")
    record = next(r for r in world.store.objects() if r.key.kind == Kind.ENVIRONMENT)
    world.store.put_object(replace(record, reason=Reason.AWAITING_APPROVAL))
    view = world.look()
    effects = approval_effects(view, view.find("Environment", "default"), "")
    assert [effect.text.split()[0] for effect in effects if effect.stops] == ["a", "b"]


def test_a_rollback_says_whether_anybody_waits():
    """The former revision is off, so it has to start first."""
    _, _, phi = _view("serves")
    effects = rollback_effects(phi, phi.generations[1], "Recreate")
    assert any(effect.stops and "phi--r1" in effect.text for effect in effects)


@pytest.mark.parametrize(
    ("count", "verdict"),
    [
        (0, "No service is in the documents."),
        (1, "service-000 serves"),
        (30, "26 of 30 services serve; service-002, service-003, service-004 and 1 more do not."),
    ],
)
def test_one_sentence_for_all(count, verdict):
    """The title says how many serve and names those that do not."""
    assert many(count).look().verdict.startswith(verdict)


def test_a_refused_save_is_in_the_verdict():
    """And the version before it goes on."""
    assert "The last save is refused" in broken().look().verdict


def test_snippets_name_the_endpoint_and_no_key():
    """The key comes from the command at the moment of use."""
    _, view, phi = _view("serves")
    text = "\n".join(snippet.text for snippet in snippets_of(view, phi))
    assert "https://phi.swedencentral.example/v1" in text
    assert "$(moorage key phi)" in text


def test_a_damaged_note_of_the_history_costs_nothing_else():
    """The state file is a cache that an older release or a full disk may have left in any form."""
    world, _, _ = _view("serves")
    for text in ("{not json", "[]", '{"phi--r2": 7}', '{"phi--r2": {"changes": 1}}'):
        world.store.put("generations phi", text)
        assert world.look().find("InferenceService", "phi").generations[0].changes == ()


def test_a_view_of_a_thousand_services_is_made_once_for_many_visitors(tmp_path):
    """Views take at most a twentieth of the daemon's time; a decision always sees the present."""
    world = many(1)
    seen = []
    page = DaemonPage.__new__(DaemonPage)
    page._settings = SimpleNamespace(
        target_title="t", ca_file=None, state_dir=tmp_path, target_option=""
    )
    page._store, page._seen, page._stands_by = world.store, None, lambda: False
    page._clock = SimpleNamespace(boot=BOOT, now=NOW.timestamp, elapsed=lambda: seen[-1])
    page._replica_prices = dict

    def records():
        seen.append(seen[-1] + 2.0)  # a view takes two seconds
        return world.store.objects()

    page._records = records
    seen.append(100.0)
    first = page.look(False)
    assert page.look(False) is first
    world.service("new")
    seen.append(102.0 + SHARE * 2 - 0.1)
    assert page.look(False) is first
    assert page.look(True).find("InferenceService", "new")
    seen.append(seen[-1] + SHARE * 2 + 0.1)
    assert page.look(False) is not first


def test_a_plan_that_waits_is_no_stage_of_its_own():
    """A change that waits for a person is said to wait; a deletion has no way to show."""
    world, view, phi = _view("manual")
    found = {stage.name: stage.state for stage in stages(world.store, view, phi)}
    assert found["Revision"] is StageState.WAITS
    world, view, phi = _view("waits")
    assert stages(world.store, view, phi) == ()


def test_traffic_is_told_by_revision_and_by_version():
    """Replicas are added up; of the time to the first token the slowest replica counts; a canary
    and a former version have lines of their own.
    """
    old, new, trial = "a" * 64, "b" * 64, "c" * 64
    quick, slow = ({"count": 9, "median": n, "p95": 2 * n} for n in (0.25, 0.5))

    def row(name, digest, first_tokens, canary=None):
        adapter = {
            "name": "support", "digest": digest, "desired": new, "state": "Loaded",
            "requests": 10, "errors": 1, "firstTokens": first_tokens, "canary": canary,
        }  # fmt: skip
        return {
            "name": name, "revision": "phi--r1", "ready": True, "restarts": 0,
            "adapters": [adapter],
            "traffic": {"requests": 30, "errors": 2, "firstTokens": first_tokens},
        }  # fmt: skip

    canary = {"digest": trial, "state": "Loaded", "requests": 3}
    rows = [row("a", new, quick, canary), row("b", new, slow), row("c", old, None)]
    silent = {"name": "d", "revision": "phi--r2", "ready": True, "restarts": 0}
    app = AppOutputs.load({"replicas": [*rows, silent]})
    assert by_revision(app) == {"phi--r1": (3, 90, 6, 0.5, 1.0)}
    assert by_version(app, {"support": 20}) == (
        ("support", new[:8], "serves", (2, 20, 2, 0.5, 1.0)),
        ("support", old[:8], "former version serves", (1, 10, 1, None, None)),
        ("support", trial[:8], "canary on 20 %", (1, 3, 0, None, None)),
    )


LOCKED = (
    "The scope '/subscriptions/c5f3-1/resourceGroups/rg-x/providers/Microsoft.App/containerApps/phi'"
    " cannot perform write operation because following scope(s) are locked:"
    " '/subscriptions/c5f3-1/resourceGroups/rg-x'. Please remove the lock. Remove the lock, or set"
    " reconcilePolicy: Observe."
)


def _conditions(**given):
    marks = ConditionSet(lambda: NOW)
    marks.mark(ConditionType.READY, Status.TRUE, Reason.ALL_GOOD, generation=1)
    for kind, (reason, message) in given.items():
        marks.mark(ConditionType(kind), Status.FALSE, reason, message, generation=1)
    return {each.type: each for each in marks}


def test_a_code_of_azure_has_its_remedy_and_short_names():
    """The remedy stands once, beside the message; the sentence at the top names a resource as
    people do.
    """
    conditions = _conditions(Synced=(AzureCode("ScopeLocked"), LOCKED))
    (cause,) = causes_of(conditions)
    assert cause.remedy == "Remove the lock, or set reconcilePolicy: Observe."
    assert cause.message.endswith("Please remove the lock.")
    said = service_verdict("phi", conditions, Answering(), why=True)
    assert "The scope containerApps/phi cannot" in said
    assert "locked: resource group rg-x" in said


def test_one_fault_is_one_cause():
    """What Azure calls failed without a code is not told beside the cause that has a name; of what
    was rolled back the cause in the message explains it.
    """
    shadow = (Reason.OPERATION_FAILED, "ErrorCode: ContainerAppOperationError")
    rolled_back = (Reason.ROLLED_BACK, "moorage.yaml:3: ImageNotFound: no such tag; phi--r1 serves")
    (cause,) = causes_of(_conditions(Synced=rolled_back, Provisioned=shadow))
    assert cause.reason == "RolledBack"
    remedy = Reason.IMAGE_NOT_FOUND.remedy.partition(":")[0]
    assert cause.remedy == f"{remedy}; then change the spec and save to try again"
    said = service_verdict("phi", _conditions(Synced=rolled_back), Answering(), why=True)
    assert said.endswith(", rolled back: moorage.yaml:3: the registry has no such image or tag")
    short, more = "revision phi--r1: Deadline. 0/1 ready.", "the quota X is used up. "
    twice = _conditions(
        Synced=(Reason.REVISION_FAILED, f"{more}{short} nothing serves meanwhile"),
        RevisionHealthy=(Reason.REVISION_FAILED, short),
    )
    (cause,) = causes_of(twice)
    assert cause.message.startswith(more)
    (alone,) = causes_of(_conditions(Provisioned=shadow))
    assert alone.reason == "OperationFailed"
    refused = _conditions(Synced=(Reason.IMAGE_NOT_FOUND, "Failed to provision. Field x"))
    said = service_verdict("phi", refused, Answering(), why=True)
    assert said.endswith("the document is not applied: the registry has no such image or tag")


def test_a_start_without_a_replica_says_why_and_since_when():
    """A replica that finds no place has no age; the revision has."""
    said = "revision phi--r2 has no replica yet; the quota X is used up: 0 of 0, 0 left"
    world = World()
    ref = DocumentRef("InferenceService", "phi")
    starting = (Status.FALSE, Reason.STARTING, said)
    world.service("phi", "starts")
    world._conditions(
        ref,
        {
            ConditionType.READY: starting,
            ConditionType.PROGRESSING: (Status.TRUE, Reason.STARTING, ""),
        },
    )
    world._app("phi", ref, weights=(0, 100), replicas=0, phase=Phase.UNREADY, message=said)
    view = world.look()
    found = stages(world.store, view, view.find("InferenceService", "phi"))[-1]
    assert (found.name, found.state, found.message) == ("Replica", StageState.NOW, said)
    assert found.seconds == 86_400


def test_an_environment_that_is_in_place_and_not_in_sync_says_both():
    """A lock on the group is told where people look first."""
    said = environment_verdict(
        "dev", _conditions(Synced=(AzureCode("ScopeLocked"), LOCKED)), why=True
    )
    assert said.startswith("Environment dev is in place; the document is not applied: The scope")


@pytest.mark.parametrize(
    ("refusals", "stands_by"),
    [
        ([None, None], False),
        ([None, AzureCode("ScopeLocked")], False),
        ([None, Reason.NOT_LEADER], True),
        ([Reason.NOT_OBSERVED], True),
        ([AzureCode("ScopeLocked")], True),
        ([], False),
    ],
)
def test_only_another_daemon_makes_this_one_stand_by(refusals, stands_by):
    """A lease that one Environment cannot have concerns that Environment alone."""
    found = Leadership(SimpleNamespace(), Path("x"), print)
    for number, reason in enumerate(refusals):
        refusal = NotReadyYet(reason, "", after=1.0) if reason else None
        found._stands[str(number)] = SimpleNamespace(why_not=lambda refusal=refusal: refusal)
    assert found.stands_by() is stands_by
