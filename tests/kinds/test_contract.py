"""One contract for every kind of the table, against a real local Azure: a new kind is tested here
unasked.

The tests go through the life of a whole Environment with a service in it, each for every kind:
planned, created, observed, created again, changed, deleted.
"""

import asyncio
import json
from dataclasses import replace

import pytest

from reconciler.api.resources import (
    ShareRef,
)
from reconciler.arm import apps, files
from reconciler.engine.errors import NotReadyYet
from reconciler.engine.external import Observation
from reconciler.engine.facts import View
from reconciler.kinds.service import app_body, good_template
from tests.e2e.ground import is_write
from tests.kinds.bench import BY_HAND, CHANGED, FIRST, KINDS, bench_of, every_kind, is_done
from tests.kinds.bench import hub as hub  # noqa: PLC0414 - fixtures
from tests.kinds.bench import stage as stage  # noqa: PLC0414


@pytest.fixture
async def bench(stage):
    """The documents as first written."""
    async with bench_of(stage, FIRST) as bench:
        yield bench


@pytest.fixture
async def changed(stage):
    """The documents after a change of everything that can change."""
    async with bench_of(stage, CHANGED) as bench:
        yield bench


@every_kind
async def test_what_is_absent_is_said_to_be(bench, kind):
    """Before anything was made: `exists` is False, or what it stands on is not there yet; a look
    writes nothing.
    """
    target, item = bench.of(kind)
    mark = len(bench.stage.journal())
    try:
        assert (await bench.look(item)).exists is False
        assert await target.exists(target.identify(item)) is False
    except NotReadyYet:
        assert item.refs
    assert [entry for entry in bench.since(mark) if is_write(entry)] == []


@every_kind
async def test_what_is_absent_can_be_deleted(bench, kind):
    """Deleting what never was is no error and no write."""
    target, item = bench.of(kind)
    mark = len(bench.stage.journal())
    try:
        assert await target.delete(target.identify(item)) is None or kind in (
            "PublishedFolder",
            "AdapterCatalogue",
            "PublishedRoutes",
        )
    except NotReadyYet:
        assert item.refs
    assert [e for e in bench.since(mark) if is_write(e) and e["status"] < 400] == []


def test_a_plan_and_the_run_after_it_agree(stage):
    """All kinds that documents use: what the plan says is created is created, each once, and
    nothing else is written.
    """
    stage.save(*FIRST)
    plan = [
        line
        for line in stage.json("plan", "-f", str(stage.manifest))["changes"]
        if line["action"] != "no-op"
    ]
    assert {line["action"] for line in plan} == {"create"}
    stage.once()
    created = [event.object for event in stage.events() if event.reason == "Creating"]
    assert sorted(created) == sorted(line["object"] for line in plan)
    assert {name.split("/")[0] for name in created} == set(KINDS) - BY_HAND


@pytest.mark.parametrize("name", ["AdapterCatalogue", "PublishedRoutes"])
async def test_what_only_models_need_is_made(bench, name):
    """Documents with adapters need vLLM; here a catalogue and a gateway's routes are made by hand,
    to be held to the contract like the others.
    """
    kind, item = bench.of(name)
    await bench.ended(item, await kind.create(item, bench.facts))


async def test_the_model_is_fetched(bench):
    """The job is made, then started, and is ready when the model is on the share."""
    runtime = next(item for item in bench.desired if item.key.name.startswith("environments/"))
    await bench.daemon.kinds["PublishedFolder"].create(runtime, bench.facts)
    await bench.learn()
    kind, item = bench.of("Job")
    await bench.ended(item, await kind.create(item, bench.facts))
    async with asyncio.timeout(60):
        while not (seen := await bench.settled(item)).ready:
            if seen.changes:
                await bench.ended(item, await kind.update(item, seen, bench.facts))
            await asyncio.sleep(0.1)
    assert seen.outputs.files == 2


@every_kind
async def test_a_look_only_reads(bench, kind):
    """GET, and reading keys: nothing else. What was made is there, as desired, and ready."""
    await bench.learn()
    target, item = bench.of(kind)
    mark = len(bench.stage.journal())
    seen = await bench.look(item)
    assert await target.exists(target.identify(item)) is True
    assert [entry for entry in bench.since(mark) if is_write(entry)] == []
    assert (seen.exists, seen.ready, seen.busy, seen.changes) == (True, True, False, ())
    assert not seen.provisional
    assert type(seen.outputs) is kind.outputs
    assert type(seen.outputs).load(json.loads(json.dumps(seen.outputs.dump()))) == seen.outputs


@every_kind
async def test_what_a_look_reads_of_others_is_a_dependency(bench, kind):
    """A look at an object is outdated as soon as anything that it read of another one is different,
    and not because that other one was only looked at once more.
    """
    await bench.learn()
    target, item = bench.of(kind)
    book = bench.book()
    view = View(book, item.key)
    await target.observe(item, view)
    book.keep(view)
    await bench.learn()
    for key, outputs in bench.facts.seen.items():
        book.see(key, Observation(True, outputs=outputs))
        book.set_open(key, is_open=True)
        assert book.outdated(key) == set()
    for key in {reading.key for reading in view.readings} & bench.facts.seen.keys():
        book.see(key, Observation(False))
        assert book.outdated(key) == {item.key}


@every_kind
async def test_creating_again_changes_nothing(bench, kind):
    """`create` of what exists is accepted and leaves one object, as desired, with the
    same facts.
    """
    await bench.learn()
    target, item = bench.of(kind)
    before = bench.facts.seen[item.key]
    await bench.ended(item, await target.create(item, bench.facts))
    seen = await bench.settled(item)
    assert (seen.exists, seen.changes) == (True, ())
    assert facts_that_stay(seen.outputs) == facts_that_stay(before)


def facts_that_stay(outputs):
    """A catalogue written again has a new generation, which says nothing about its content."""
    return {
        name: value
        for name, value in outputs.dump().items()
        if name not in ("generation", "arm", "replicas")
    }


@every_kind
async def test_an_update_converges(changed, kind):
    """Every difference is named; writing until none is left takes few writes, and a further look
    finds nothing.
    """
    await changed.learn()
    target, item = changed.of(kind)
    if disturb := DISTURB.get(kind):
        await disturb(changed, item)
    else:
        item = replace(item)
    first = await changed.settled(item)
    assert first.changes
    assert all(change.path for change in first.changes)
    writes = 0
    async with asyncio.timeout(60):
        while not is_done(seen := await changed.settled(item)):
            await asyncio.sleep(0.05)
            if seen.changes:
                writes += 1
                assert writes <= 4, seen.changes
                await changed.ended(item, await target.update(item, seen, changed.facts))
    again = await changed.look(item)
    assert (again.exists, again.changes, again.ready) == (True, (), True)


async def rotate_key(bench, item):
    """The share's refusal of the old key is how the daemon learns of it, at the lease's next
    renewal.
    """
    share = bench.daemon.shares.open(
        ShareRef("dev", item.spec.resource_group, item.spec.account, "moorage")
    )
    await files.list_directory(share, "code")
    await bench.daemon.arm.storage.storage_accounts.regenerate_key(
        item.spec.resource_group, item.spec.account, {"keyName": "key1"}
    )
    await files.list_directory(share, "code")


async def lose_a_file(bench, item):
    await files.delete(bench.daemon.shares.open(item.spec.share), f"{item.spec.prefix}/app.py")


async def lose_the_model(bench, item):
    """The key was rotated by now, and a storage that has the old one can be mounted no more."""
    kind = bench.daemon.kinds["EnvironmentStorage"]
    for storage in [each for each in bench.desired if each.key.kind == kind.name]:
        await bench.ended(storage, await kind.create(storage, bench.facts))
    await files.delete(
        bench.daemon.shares.open(item.spec.share), f"{item.spec.folder}/.moorage.json"
    )


# What no edit can change: it is another object then, or only Azure knows it.
DISTURB = {"EnvironmentStorage": rotate_key, "PublishedFolder": lose_a_file, "Job": lose_the_model}


@pytest.mark.parametrize("known", [True, False], ids=["asked for", "serving"])
async def test_a_write_after_a_refused_template_ends_well(changed, known):
    """The app keeps what Azure refused, and each later write without a template would end with that
    refusal: it takes the template of a revision along, which makes no revision.
    """
    target, item = changed.of("ContainerApp")
    spec, arm = item.spec, changed.daemon.arm
    refused = app_body.revision(spec) | {"revisionSuffix": f"refused-{known}".lower()}
    refused["containers"] = [{**each, "image": "nobody/none:1"} for each in refused["containers"]]

    async def sent(call):
        operation = await call
        async with asyncio.timeout(90):
            while not (progress := await target.poll(target.identify(item), operation.token)).done:
                await asyncio.sleep(0.05)
        return progress.error

    async def seen():
        arm.inventory._entries.clear()
        listed = await apps.list_revisions(arm, spec.resource_group, spec.name)
        return await target._there(spec), [each["name"] for each in listed]

    _, before = await seen()
    body = {"properties": {"template": refused}}
    error = await sent(apps.patch_app(arm, spec.resource_group, spec.name, body))
    assert error.reason == "ImageNotFound"
    found, _ = await seen()
    tagged = {"tags": found["tags"]}
    asked = good_template.patch_app(arm, found, tagged, spec if known else None)
    assert await sent(asked) is None
    found, after = await seen()
    assert after == before
    assert found["properties"]["provisioningState"] == "Succeeded"
    assert found["properties"]["template"]["revisionSuffix"] == spec.suffix


@pytest.mark.parametrize("kind", reversed(KINDS))
async def test_deleting_twice_is_deleting_once(changed, kind):
    """Dependents first: each is gone after one delete, and a second one finds nothing and is no
    error.
    """
    await changed.learn()
    target = changed.daemon.kinds[kind]
    for item in [item for item in changed.desired if item.key.kind == kind]:
        await changed.ended(item, await target.delete(target.identify(item)))
        assert (await changed.look(item)).exists is False
        assert await target.exists(target.identify(item)) is False
        mark = len(changed.stage.journal())
        await changed.ended(item, await target.delete(target.identify(item)))
        assert [e for e in changed.since(mark) if is_write(e) and e["status"] < 300] == []
