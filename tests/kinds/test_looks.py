"""When a service's replicas are read from ARM and its reports from the share. Time is a number."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from reconciler.api.outputs import AppOutputs, CatalogueOutputs
from reconciler.kinds.service.looks import Looks
from reconciler.kinds.service.turns import Turns

START = datetime(2026, 1, 1, tzinfo=UTC)
FOUND = {
    "properties": {
        "latestRevisionName": "phi--one",
        "configuration": {"ingress": {"traffic": [{"revisionName": "phi--one", "weight": 100}]}},
    }
}


class Place:
    """ARM and the share of many services that each have one healthy revision with a replica."""

    def __init__(self):
        self.now, self.reads, self.reports = 1000.0, 0, 0
        self.health, self.replicas, self.new = "Healthy", 0, False
        arm = SimpleNamespace(
            subscription_id="s",
            inventory=SimpleNamespace(list=self._list, is_new=lambda _: self.new),
            time=SimpleNamespace(now=lambda: START + timedelta(seconds=self.now)),
        )
        reports = SimpleNamespace(read=self._read)
        self.looks = Looks(arm, reports, Turns(lambda: self.now), SimpleNamespace())
        self.before: dict[str, AppOutputs] = {}
        self.ending: list[dict[str, object]] = []

    async def _list(self, part, scope):
        self.reads += 1
        if part.name == "REVISION":
            properties = {"active": True, "trafficWeight": 100, "healthState": self.health}
            return [{"name": "phi--one", "properties": {**properties, "replicas": 1}}]
        self.replicas += 1
        one = {"name": "phi--one-a", "properties": {"containers": [{"ready": True}]}}
        return [*self.ending, one]

    async def _read(self, spec):
        self.reports += 1
        return ()

    async def look(self, service, catalogue=None, found=FOUND):
        spec = SimpleNamespace(
            service=service,
            name=service,
            resource_group="rg",
            environment="dev",
            engine="e",
            share=None,
            template={"scale": {}},
            revision="phi--one",
            serves_model=False,
            scales_to_zero=False,
            startup_seconds=0,
        )
        seen = await self.looks.look(spec, found, self.before.get(service), catalogue)
        self.before[service] = seen.outputs(AppOutputs())
        return seen

    async def resync(self, count):
        """The reports that were read in it."""
        self.now += 60.0
        before = self.reports
        for number in range(count):
            await self.look(f"phi-{number:04}")
        return self.reports - before


async def test_reports_are_read_with_each_look_at_arm():
    """In every resync while ARM's budget holds all services, and beyond it no more than that many:
    the reports that were read with the last look stand as long as it does.
    """
    place = Place()
    for _ in range(3):
        assert await place.resync(100) == 100
    crowd = Place()
    counts = [await crowd.resync(1000) for _ in range(6)]
    assert max(counts[2:]) <= 330


async def test_a_changed_catalogue_is_looked_for_in_the_reports_at_once():
    """Whosever turn it is: the replicas say when they have taken it up."""
    place = Place()
    for _ in range(3):
        await place.resync(1000)
    place.now += 3.0
    before = place.reports
    just_looked_at = max(place.before, key=lambda name: place.before[name].arm.looked_at)
    await place.look(just_looked_at)
    assert place.reports == before
    await place.look(just_looked_at, CatalogueOutputs("e", 1, 2))
    assert place.reports == before + 1


async def test_a_replica_that_was_told_to_stop_is_none():
    """Azure lists it for a while as not running, with a container that it calls ready; one that
    starts is not ready.
    """
    place = Place()
    place.ending = [
        {
            "name": f"phi--one-{name}",
            "properties": {"runningState": "NotRunning", "containers": [{"ready": ready}]},
        }
        for name, ready in (("ends", True), ("starts", False))
    ]
    seen = await place.look("phi")
    assert {each.name: each.ready for each in seen.replicas} == {
        "phi--one-starts": False,
        "phi--one-a": True,
    }


async def test_the_replicas_of_a_boot_are_read_after_two_seconds():
    """Before that they have nothing to tell. A revision whose health Azure has judged is read at
    once.
    """
    place = Place()
    place.health = "None"
    for _ in range(2):
        await place.look("phi")
        place.now += 1.1
    assert place.replicas == 0
    await place.look("phi")
    assert place.replicas == 1
    ready = Place()
    await ready.look("phi")
    assert ready.replicas == 1


async def test_an_app_that_we_have_just_created_is_looked_at_after_two_seconds():
    """What it answered is the first look: its revision boots. Azure calls a first revision ready
    whatever becomes of it, so that counts for nothing.
    """
    place = Place()
    place.new = True
    for _ in range(4):
        seen = await place.look("phi")
        assert [(each.name, each.serving) for each in seen.revisions] == [("phi--one", False)]
        place.now += 0.5
    assert place.reads == 0
    assert (await place.look("phi")).serves
    assert place.reads == 2


async def test_a_revision_that_boots_beside_another_is_looked_at_when_its_app_says_so():
    """Every four seconds otherwise, because Azure may say so late."""
    place = Place()
    place.health = "None"
    await place.look("phi")
    before = place.before["phi"]
    old = replace(before.arm.revisions[0], name="phi--old", health="Healthy")
    place.before["phi"] = replace(
        before, arm=replace(before.arm, revisions=(old, *before.arm.revisions))
    )
    ready = {"properties": {**FOUND["properties"], "latestReadyRevisionName": "phi--one"}}
    reads = place.reads
    place.now += 3.9
    await place.look("phi")
    assert place.reads == reads
    await place.look("phi", found=ready)
    assert place.reads > reads
