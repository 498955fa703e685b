"""Catalogues on a real share: decisions about canaries are written there, outlive the engine, and
wait for the document.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.api.outputs import AppOutputs, ReplicaRow, TrialOutputs
from reconciler.api.resources import (
    AdapterReturn,
    CatalogueAdapter,
    CatalogueCanary,
    CatalogueKey,
    CatalogueSpec,
)
from reconciler.arm import files
from reconciler.composition.environment import share_of
from reconciler.daemon import Daemon
from reconciler.engine.external import Desired, DocumentRef, ObjectKey, Observation
from reconciler.engine.facts import FactBook, View
from reconciler.engine.store import MEMORY, Store
from reconciler.settings import Settings
from serving.catalogue import AdapterReport, CanaryReport, ReplicaReport
from tests.e2e.stage import Stage, environment
from tests.kinds.known import Known

ONE, TWO = ("1" * 64, "adapters/red/1"), ("2" * 64, "adapters/red/2")
CANARY = CatalogueCanary(*TWO, "./two", weight=10, max_error_rate=0.05, promote_after=600)
APP = ObjectKey("ContainerApp", "models")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with Stage(tmp_path_factory.mktemp("catalogue")) as stage:
        stage.save(environment("dev"))
        stage.once()
        yield stage


class Bench:
    """One catalogue, driven as the loop drives it."""

    def __init__(self, daemon, service):
        self.kind, self.facts = daemon.kinds["AdapterCatalogue"], Known()
        (names,) = daemon.composition.names.values()
        self.share = daemon.shares.open(share_of(names))
        key, document = (
            ObjectKey("AdapterCatalogue", service),
            DocumentRef("InferenceService", service),
        )
        adapter = CatalogueAdapter("red", *ONE, False, "./one", canary=CANARY)
        self.item = Desired(
            key, document, CatalogueSpec(share_of(names), service, "engine1", (adapter,), ())
        )

    def want(self, **changes):
        self.item = replace(self.item, spec=replace(self.item.spec, **changes))

    async def passes(self):
        """Look, write what differs, look again; the first look's changes and the last look."""
        first = await self.kind.observe(self.item, self.facts)
        if not first.exists:
            self.wrote = await self.kind.create(self.item, self.facts)
        elif first.changes:
            self.wrote = await self.kind.update(self.item, first, self.facts)
        self.facts.seen[self.item.key] = first.outputs
        last = await self.kind.observe(self.item, self.facts)
        self.facts.seen[self.item.key] = last.outputs
        assert last.exists
        assert last.changes == ()
        return [change.path for change in first.changes], last

    async def report(self, *, age=0, requests=0, errors=0, seconds=60):
        now = datetime.now(UTC) - timedelta(seconds=age)
        canary = CanaryReport(
            digest=TWO[0],
            state="Loaded",
            requests=requests,
            errors=errors,
            loaded_at=now - timedelta(seconds=seconds),
        )
        adapter = AdapterReport(
            name="red", digest=ONE[0], desired=ONE[0], state="Loaded", canary=canary
        )
        mine = ReplicaReport(
            replica="a",
            revision="r",
            pid=1,
            started_at=now,
            heartbeat=now,
            epoch=1,
            model_loaded=True,
            ready=True,
            generation=self.facts.seen[self.item.key].generation,
            adapters=(adapter,),
        )
        path = f"{self.item.spec.folder}/replicas/a.json"
        await files.write(self.share, path, mine.model_dump_json(by_alias=True).encode())


@pytest.fixture
async def bench(stage, request):
    settings = Settings.for_local(stage.facts, {}, state_dir=stage.state)
    async with Daemon(settings, [stage.manifest], store=Store.open(MEMORY, "local")) as daemon:
        await daemon.load()
        yield Bench(daemon, f"s{abs(hash(request.node.name)) % 10**8}")


async def test_a_canary_that_fails_is_taken_out_and_held_until_the_document_changes(bench):
    """By what live replicas report: one that is silent says nothing. What follows is no drift, and
    the message names the edit.
    """
    _, seen = await bench.passes()
    assert seen.provisional
    assert seen.poll_after
    assert seen.outputs.adapters[0].canary == TrialOutputs(TWO[0], 10)
    with pytest.MonkeyPatch.context() as patch:  # every report is too old
        patch.setattr("reconciler.kinds.adapter_catalogue.STALE", timedelta(days=-1))
        await bench.report(requests=100, errors=50)
        assert (await bench.passes())[0] == []
    await bench.report(requests=100, errors=50)
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].held", "adapters[red].canary"]
    assert "2222 was rolled back: 50 of 100 requests failed" in bench.wrote.message
    assert (seen.held, seen.reason, seen.provisional) == (True, "RolledBack", False)
    assert "write source: ./one and take canary out" in seen.message
    assert seen.outputs.adapters[0].held.outcome == "RolledBack"
    bench.want(adapters=(CatalogueAdapter("red", *ONE, False, "./one"),))
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].held"]
    assert (seen.held, seen.reason) == (False, None)


async def test_a_shutdown_date_is_told_and_changes_nothing_else(bench):
    """It is hot in both directions, and no decision about a canary ends over it."""
    await bench.passes()
    (adapter,) = bench.item.spec.adapters
    bench.want(adapters=(replace(adapter, shutdown_date="2027-01-31"),))
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].shutdownDate"]
    assert seen.outputs.adapters[0].canary == TrialOutputs(TWO[0], 10)
    bench.want(adapters=(adapter,))
    assert (await bench.passes())[0] == ["adapters[red].shutdownDate"]


async def test_a_canary_that_is_well_for_long_enough_takes_the_name(bench):
    """The version it replaces stands in for it from then on."""
    await bench.passes()
    await bench.report(requests=100, errors=1, seconds=700)
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].digest", "adapters[red].held", "adapters[red].canary"]
    (adapter,) = seen.outputs.adapters
    assert (adapter.digest, adapter.last_good, adapter.held.source) == (
        TWO[0],
        ONE[0],
        "./two",
    )
    assert (seen.held, seen.reason) == (True, "Promoted")


async def test_decisions_and_good_versions_outlive_the_engine(bench):
    """Another engine reads another folder; what was decided is carried there, and back again, also
    by a daemon that remembers nothing.
    """
    await bench.passes()
    await bench.report(requests=100, errors=1, seconds=700)
    await bench.passes()
    bench.want(engine="engine2")
    changed, seen = await bench.passes()
    assert changed == []  # against the catalogue of the engine before
    (adapter,) = seen.outputs.adapters
    assert (seen.held, adapter.digest, adapter.last_good) == (True, TWO[0], ONE[0])
    bench.facts.seen.clear()
    bench.want(engine="engine3")
    _, seen = await bench.passes()
    assert (seen.reason, seen.outputs.adapters[0].digest) == ("Promoted", TWO[0])
    bench.want(adapters=(CatalogueAdapter("red", *ONE, False, "./one"),))
    assert not (await bench.passes())[1].held
    bench.want(engine="engine1")
    _, seen = await bench.passes()
    assert (seen.held, seen.outputs.adapters[0].digest) == (False, ONE[0])


async def test_a_version_was_good_also_when_nobody_runs_any_more(bench):
    """A service that sleeps when its adapter is changed has something to fall back on when it
    wakes, on a new engine too.
    """
    bench.want(adapters=(CatalogueAdapter("red", *ONE, False, "./one"),))
    await bench.passes()
    await bench.report(age=3600)
    bench.want(adapters=(CatalogueAdapter("red", *TWO, True, "./two"),), engine="engine2")
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].digest", "adapters[red].required", "adapters[red].wasGood"]
    (adapter,) = seen.outputs.adapters
    assert (adapter.digest, adapter.last_good) == (TWO[0], ONE[0])


async def test_what_a_key_may_do_is_a_change_of_the_catalogue(bench):
    """Models, rate and admin are told without the key; nothing is said while the app has not made
    it.
    """
    bench.want(
        keys=(
            CatalogueKey("default"),
            CatalogueKey("ci", ("red",), 60),
            CatalogueKey("ops", admin=True),
        )
    )
    app = APP._replace(name=bench.item.spec.service)
    keys = {"default": "a" * 64, "ci": "b" * 64}
    bench.facts.seen[app] = AppOutputs(api_keys=tuple(keys.items()))
    _, seen = await bench.passes()
    assert seen.poll_after == 1.0
    bench.facts.seen[app] = AppOutputs(api_keys=tuple((keys | {"ops": "c" * 64}).items()))
    first = await bench.kind.observe(bench.item, bench.facts)
    assert [(c.path, c.before, c.after) for c in first.changes] == [
        ("apiKeys[ops]", None, "(secret), admin")
    ]
    await bench.passes()
    bench.want(
        keys=(
            CatalogueKey("default"),
            CatalogueKey("ci", ("red",), 6),
            CatalogueKey("ops", admin=True),
        )
    )
    first = await bench.kind.observe(bench.item, bench.facts)
    (change,) = first.changes
    assert (change.path, change.after) == (
        "apiKeys[ci]",
        "(secret), models red, 6 requests a minute",
    )
    keys |= {"default": "d" * 64, "ops": "c" * 64}
    bench.facts.seen[app] = AppOutputs(api_keys=tuple(keys.items()))
    first = await bench.kind.observe(bench.item, bench.facts)
    assert {change.path for change in first.changes} == {"apiKeys[ci]", "apiKeys[default]"}
    await bench.passes()
    # A daemon that lost its state has seen no app yet, and must not take everybody's key away.
    del bench.facts.seen[app]
    seen = await bench.kind.observe(bench.item, bench.facts)
    assert seen.changes == ()
    assert not seen.unfinished


async def test_a_required_adapter_that_a_replica_has_loaded_is_known_to_have_been_good(bench):
    """New replicas then wait for it; before, it holds up none."""
    bench.want(adapters=(CatalogueAdapter("red", *ONE, True, "./one"),))
    _, seen = await bench.passes()
    assert seen.poll_after
    assert seen.outputs.adapters[0].last_good is None
    await bench.report()
    (news,) = (await bench.kind.observe(bench.item, bench.facts)).changes
    assert news.follows, "nobody changed it behind Moorage's back"
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].wasGood"]
    assert (seen.outputs.adapters[0].last_good, seen.poll_after) == (ONE[0], None)


async def test_a_replica_that_loads_a_required_adapter_outdates_the_last_look(bench):
    """A single run ends when nothing is outdated, so not before the catalogue says that it was
    good. Other news of the replica is none for the catalogue.
    """
    bench.want(adapters=(CatalogueAdapter("red", *ONE, True, "./one"),))
    app, book = ObjectKey("ContainerApp", bench.item.key.name), FactBook(lambda _: {})
    view, boots = View(book, bench.item.key), ReplicaRow("a", "r", ready=False, restarts=0)

    def see(row):
        book.see(app, Observation(exists=True, outputs=AppOutputs(replicas=(row,))))
        return book.outdated(app)

    see(boots)
    await bench.kind.observe(bench.item, view)
    book.keep(view)
    assert see(replace(boots, ready=True)) == set()
    loaded = AdapterReport(name="red", digest=ONE[0], desired=ONE[0], state="Loaded")
    assert see(replace(boots, ready=True, adapters=(loaded,))) == {bench.item.key}


async def test_earlier_adapters_serve_again_until_the_document_changes(bench):
    """All adapters are as they were in that set, those that were added since are away; the decision
    outlives the order and the engine, ends with another spec, and does not come back with the
    document's former words.
    """
    red = CatalogueAdapter("red", *ONE, False, "./one")
    blue = CatalogueAdapter("blue", *TWO, False, "./two")
    bench.want(adapters=(red,))
    await bench.passes()
    bench.want(adapters=(replace(red, digest=TWO[0], path=TWO[1]), blue), engine="engine2")
    _, seen = await bench.passes()
    assert [(each.number, each.engine) for each in seen.outputs.sets] == [
        (1, "engine1"),
        (2, "engine2"),
    ]
    order = AdapterReturn(seen.outputs.asked, 1, datetime.now(UTC).timestamp(), "phi--r1")
    bench.want(back=order)
    changed, seen = await bench.passes()
    assert "adapters.rolledBackTo" in changed
    assert seen.outputs.engine == "engine1"
    assert [(each.name, each.digest) for each in seen.outputs.adapters] == [("red", ONE[0])]
    assert (seen.held, seen.reason, seen.outputs.held) == (True, "RolledBack", True)
    assert "until the document's spec changes: red 111111111111" in seen.message
    bench.want(back=None)  # another daemon, which never heard of the order
    assert (await bench.passes())[0] == []
    bench.want(log_prompts=True)
    assert (await bench.passes())[0] == ["requestLog.prompts"], "the decision stands"
    before = bench.item.spec.adapters
    bench.want(adapters=(red,))
    changed, seen = await bench.passes()
    assert "adapters.rolledBackTo" in changed
    assert (seen.held, seen.outputs.engine) == (False, "engine2")
    bench.want(adapters=before)
    _, seen = await bench.passes()
    assert not seen.held
    assert {each.name for each in seen.outputs.adapters} == {"red", "blue"}


async def test_an_order_for_what_the_document_no_longer_asks_changes_nothing(bench):
    """Nor does one for adapters that are not kept any more."""
    bench.want(adapters=(CatalogueAdapter("red", *ONE, False, "./one"),))
    _, seen = await bench.passes()
    now = datetime.now(UTC).timestamp()
    for order in (AdapterReturn("other words", 1, now), AdapterReturn(seen.outputs.asked, 9, now)):
        bench.want(back=order)
        assert (await bench.passes())[0] == []


FAULT = "m.yaml:8:15: adapter 'blue' cannot be served: it is torn"


async def test_an_adapter_that_was_never_served_is_left_out(bench):
    """The others are served; `AdaptersLoaded` says what is wrong with it, and a run ends badly."""
    red = CatalogueAdapter("red", *ONE, False, "./one")
    blue = CatalogueAdapter("blue", "", "", True, "./two", fault=FAULT)
    bench.want(adapters=(red, blue))
    _, seen = await bench.passes()
    assert [each.name for each in seen.outputs.adapters] == ["red"]
    assert (seen.ready, seen.held, seen.failed) == (True, True, True)
    assert (seen.reason, seen.message) == ("AdapterFailed", FAULT)
    (mark,) = [each for each in seen.marks if each.type == "AdaptersLoaded"]
    assert (mark.status, mark.reason, mark.message) == ("False", "AdapterFailed", FAULT)
    bench.want(adapters=(red, replace(blue, digest=TWO[0], path=TWO[1], fault="")))
    changed, seen = await bench.passes()
    assert "adapters[blue].digest" in changed
    assert (seen.held, seen.failed, len(seen.marks)) == (False, False, 1)


async def test_an_adapter_that_was_served_keeps_its_version(bench):
    """Nothing is written for a version that cannot be served, whatever the engine and the daemon's
    memory; the canary of an adapter is refused alone.
    """
    red = CatalogueAdapter("red", *ONE, True, "./one")
    bench.want(adapters=(red,))
    await bench.passes()
    await bench.report()
    await bench.passes()
    torn = replace(red, digest="", path="", fault=FAULT)
    bench.want(adapters=(torn,))
    changed, seen = await bench.passes()
    assert changed == []
    assert [each.digest for each in seen.outputs.adapters] == [ONE[0]]
    assert (seen.held, seen.failed) == (True, True)
    bench.facts.seen.clear()
    bench.want(engine="engine2")
    _, seen = await bench.passes()
    assert [each.digest for each in seen.outputs.adapters] == [ONE[0]]
    bench.want(adapters=(replace(torn, canary=CANARY),))
    changed, seen = await bench.passes()
    assert changed == ["adapters[red].canary"]
    assert seen.outputs.adapters[0].digest == ONE[0]
