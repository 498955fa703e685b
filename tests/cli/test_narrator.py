"""What `up` prints for a person: a cause is told once."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.conditions import Condition, ConditionType, Status
from reconciler.api.reasons import Reason
from reconciler.cli.output.console import Console
from reconciler.cli.output.narrator import Narrator
from reconciler.cli.output.repetition import REPETITION, without_repetition
from reconciler.engine.events import normal
from reconciler.engine.external import DocumentRef, ObjectKey
from reconciler.engine.record import Phase
from reconciler.engine.result import Outcome
from reconciler.settings import Settings
from tests.cli.statuses import condition
from tests.web.worlds import World

CAUSE = "revision web--r3: Container crashing: app. app's last output: no module named fancy"
FAILED = f"RevisionFailed: {CAUSE}. web--r2 still serves"


def test_a_cause_that_was_told_is_not_told_again():
    """What is new in a line stays: the reason, the verb, what serves now."""
    rollback = f"roll back to revision web--r2: {CAUSE}"
    assert without_repetition(rollback, [FAILED]) == "roll back to revision web--r2 (as above)"
    condition = f"RolledBack: {CAUSE}; revision web--r2 serves until the spec changes"
    assert without_repetition(condition, [FAILED]) == (
        "RolledBack (as above); revision web--r2 serves until the spec changes"
    )


def test_only_whole_clauses_are_left_out():
    """Two resources of another set have different times, and two waits name different objects: the
    line keeps what is its own, and no word or time is cut in the middle.
    """
    end = (
        "nothing is written to it. Choose another name, or take it over with `moorage take-over a`"
    )
    first = f"StorageAccount st1 belongs to the set a (last applied 17:28:12Z from vm); {end}"
    second = f"ManagedEnvironment e1 belongs to the set a (last applied 17:28:13Z from vm); {end}"
    assert without_repetition(second, [first]) == (
        "ManagedEnvironment e1 belongs to the set a (last applied 17:28:13Z from vm); (as above)"
    )
    waits = "waits for ManagedEnvironment/dev, FileShare/dev (WaitingForReference)"
    longer = f"{waits}, PublishedFolder/web/code/web/986ed4612e8a"
    assert without_repetition(longer, [waits]) == longer


@given(st.text(max_size=REPETITION - 1), st.lists(st.text(max_size=200)))
def test_a_short_line_is_never_cut(message, told):
    """Only a long part is left out, so that no line loses its sense."""
    assert without_repetition(message, told) == message


@given(st.text(min_size=REPETITION, max_size=300))
def test_the_same_line_is_short_the_second_time(message):
    """Whatever it says."""
    assert len(without_repetition(message, [message])) <= len("(as above)") + 1


def test_lines_break_between_words_on_a_narrow_terminal(capsys):
    """A long line of `up` is broken at 60 columns, and a name is never cut."""
    stage = SimpleNamespace(target_title="local Azure")
    narrator = Narrator(stage, quiet=False)
    narrator.console = Console(highlight=False, soft_wrap=True, force_terminal=True, width=60)
    name = "PublishedFolder/web/code/web/f46d56637f2d"
    narrator._line(name, f"publish code/web/f46d56637f2d: 2 files, 29 MiB, {CAUSE}", "red")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 60 for line in lines)
    assert name in lines[0] + lines[1]
    assert all(line.startswith(" " * 10) for line in lines[1:])


def test_a_cause_is_whole_at_the_end_also_where_it_was_told(capsys):
    """In Azure's words with a long id, which are printed shortened: "(as above)" alone says
    nothing.
    """
    group = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-phi"
    said = f"the scope '{group}/providers/Microsoft.App/containerApps/phi' is locked, {CAUSE}"
    row = SimpleNamespace(
        ref="InferenceService/phi",
        conditions=[Condition.load(condition("Synced", "False", "Azure:ScopeLocked", said))],
    )
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    narrator._line("ContainerApp/phi", f"Azure:ScopeLocked: {said}", "red")
    narrator._why(row)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "InferenceService/phi  Azure:ScopeLocked: the scope containerApps/phi is locked" in last


def test_a_repetition_keeps_the_word_of_its_reason(capsys):
    """The same failure after many other lines is found again by its reason."""
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    for _ in range(2):
        narrator._line("ContainerApp/phi", f"SourceUnreadable: {CAUSE}", "red")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("ContainerApp/phi  SourceUnreadable (as above)")


def test_a_place_stays_beside_what_is_above():
    """The file and line of the document, which the failure did not name."""
    told = f"roll back to revision web--r2: moorage.yaml:7: {CAUSE}"
    assert without_repetition(told, [CAUSE]) == (
        "roll back to revision web--r2: as above (moorage.yaml:7)"
    )


def test_what_is_only_reported_does_not_match(capsys, monkeypatch):
    """A run that ends well over documents that observe says what differs, and not that everything
    matches.
    """
    said = "ContainerApp/web: size: 1 -> 2; reconcilePolicy is Observe"
    row = SimpleNamespace(
        ref="InferenceService/web",
        conditions=[Condition.load(condition("Synced", "False", "ObserveOnly", said))],
    )
    narrator = Narrator(SimpleNamespace(target_title="local Azure", runs_here=True), quiet=False)
    narrator.daemon = SimpleNamespace(store=SimpleNamespace(documents=lambda: [row]))
    monkeypatch.setattr("reconciler.cli.output.narrator.ready_block", lambda *_, **__: "")
    narrator.ready(0)
    shown = capsys.readouterr().out
    assert "everything matches" not in shown
    assert "nothing is left to do; what differs is only reported" in shown
    assert "InferenceService/web  ObserveOnly: ContainerApp/web: size: 1 -> 2" in shown


def passes(narrator, *outcomes):
    for key, phase, message in outcomes:
        narrator.saw(key, Outcome(phase, message=message), 0.0)


def test_an_outage_and_its_end_are_told_once(capsys):
    """Whatever its words are (a reset, a timeout), however many objects need an answer, and however
    often they ask; an object that is not wanted any more does not keep it open.
    """
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    app, share, gone = (ObjectKey("ContainerApp", name) for name in ("web", "share", "gone"))
    records = [SimpleNamespace(key=app), SimpleNamespace(key=share)]
    narrator.daemon = SimpleNamespace(controller=SimpleNamespace(records=lambda: records))
    for _ in range(2):
        for text in ("the connection was reset", "no answer within 30 s") * 3:
            for key in (app, share, gone):
                outcome = Outcome(Phase.RETRYING, Reason.AZURE_UNREACHABLE, text, backoff=True)
                narrator.saw(key, outcome, 0.0)
        waits = Outcome(Phase.WAITING, Reason.AZURE_UNREACHABLE, "the lease is not held")
        narrator.saw(app, waits, 0.0)
        for key in (app, share):
            narrator.saw(key, Outcome(Phase.READY), 0.0)
    said = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    told = [
        f"{app}  AzureUnreachable: the connection was reset",
        "local Azure  answers again, after 0 s",
    ]
    assert said == told * 2


def test_a_pipe_gets_each_wait_once(capsys):
    """Another pass between two looks, another object's line, and the progress of an upload repeat
    nothing; what begins again after all was ready is said again.
    """
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    app, folder = "ContainerApp/two", "PublishedFolder/two"
    passes(
        narrator,
        (folder, Phase.WORKING, "0 B of 260 MiB uploaded"),
        (folder, Phase.WORKING, "43 MiB of 260 MiB uploaded, 16 MiB/s, about 14 s left"),
        (app, Phase.UNREADY, "vLLM is starting"),
        (folder, Phase.READY, ""),
        (app, Phase.WORKING, ""),
        (app, Phase.UNREADY, "vLLM is starting"),
        (app, Phase.UNREADY, "waiting for the adapters telegram"),
        (app, Phase.READY, ""),
        (app, Phase.UNREADY, "vLLM is starting"),
    )
    said = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        f"{folder}  0 B of 260 MiB uploaded",
        f"{app}  vLLM is starting",
        f"{app}  waiting for the adapters telegram",
        f"{app}  vLLM is starting",
    ]


def test_a_write_that_was_told_is_not_told_again_while_it_goes_on(capsys):
    """How soon Azure ends an operation adds no line; another write is told, and so is a wait."""
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    app = ObjectKey("ContainerApp", "web")
    document = DocumentRef("InferenceService", "web")
    for reason, told in ((Reason.CREATING, "create web"), (Reason.UPDATING, "move the traffic")):
        event = normal(reason, told, app, document)
        narrator.saw(app, Outcome(Phase.WORKING, reason, told, event=event), 0.0)
        for _ in range(2):
            narrator.saw(app, Outcome(Phase.WORKING, reason, f"{reason.lower()} {app}"), 0.0)
    narrator.saw(app, Outcome(Phase.UNREADY, Reason.PROGRESSING, "the new replica starts"), 0.0)
    said = [line.partition(f"{app}  ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said == ["create web", "move the traffic", "the new replica starts"]


@pytest.mark.looptime
async def test_the_end_of_trouble_that_no_write_ended_is_told_once(capsys):
    """A GPU became free, or a container started after all: the last word is not a failure."""
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    code = 1
    composition = SimpleNamespace(refusals={})
    narrator.daemon = SimpleNamespace(
        controller=SimpleNamespace(converged=lambda: code, rests=lambda: True, records=list),
        composition=composition,
        intake=SimpleNamespace(unfit=dict),
        checkout=None,
        store=SimpleNamespace(get=lambda _: "", documents=list),
    )
    narrator.watching()
    app = ObjectKey("ContainerApp", "web")
    follow = asyncio.create_task(narrator.follow())
    failed = Outcome(Phase.UNREADY, Reason.REVISION_FAILED, "no GPU")
    narrator.saw(app, failed, 0.0)
    await asyncio.sleep(5)
    code = 0
    narrator.saw(app, Outcome(Phase.READY), 0.0)
    await asyncio.sleep(5)
    follow.cancel()
    said = [line.partition("  ")[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert said == [f"{app}  RevisionFailed: no GPU", "everything matches the documents again"]


def test_a_refused_save_makes_nothing_valid_again():
    """An adapter that could not be served before the save cannot be served after it either."""
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=False)
    service = DocumentRef("InferenceService", "phi")
    narrator.daemon = SimpleNamespace(
        composition=SimpleNamespace(refusals={}),
        intake=SimpleNamespace(unfit=lambda: {service: "its rank is wrong"}),
        checkout=None,
        store=SimpleNamespace(get=lambda _: "m.yaml:1:1: no YAML"),
    )
    assert set(narrator._refused()) == {str(service), "the last save"}


def test_what_answers_is_shown_although_not_everything_matches(capsys, monkeypatch):
    """With the cause before it; a service that does not answer has no address to paste."""
    monkeypatch.setattr("sys.argv", ["moorage"])
    world = World()
    world.service("phi")
    world.service("llama", "fails")
    unfit = (Status.FALSE, Reason.ADAPTER_FAILED, "m.yaml:9:7: adapter 'sales' is torn")
    ready = (Status.TRUE, Reason.ALL_GOOD, "")
    conditions = {ConditionType.READY: ready, ConditionType.SYNCED: unfit}
    world._conditions(DocumentRef("InferenceService", "phi"), conditions)
    settings = Settings("azure", "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "azure-cli")
    narrator = Narrator(settings, quiet=False)
    narrator.daemon = SimpleNamespace(store=world.store)
    narrator.ready(1)
    said = capsys.readouterr().out
    assert said.index("not everything matches") < said.index("adapter 'sales' is torn")
    assert said.index("adapter 'sales' is torn") < said.index("https://phi.swedencentral.example")
    assert "https://llama.swedencentral.example" not in said
    narrator.ready(1)
    assert "adapter 'sales' is torn" in capsys.readouterr().out, "it may be pages above"
    narrator.ready(0)
    assert "https://llama.swedencentral.example" in capsys.readouterr().out


@pytest.mark.looptime
async def test_a_resync_is_not_followed_as_a_rollout():
    """A thousand documents are not read once in a second while a resync looks at what has converged."""
    narrator = Narrator(SimpleNamespace(target_title="local Azure"), quiet=True)
    looks = []
    narrator.daemon = SimpleNamespace(
        controller=SimpleNamespace(converged=lambda: None, rests=lambda: True, records=list),
        composition=SimpleNamespace(refusals={}),
        intake=SimpleNamespace(unfit=dict),
        checkout=None,
        store=SimpleNamespace(get=lambda _: "", documents=lambda: looks.append(1) or []),
    )
    narrator.watching()
    follow = asyncio.create_task(narrator.follow())
    await asyncio.sleep(60)
    follow.cancel()
    assert not looks
