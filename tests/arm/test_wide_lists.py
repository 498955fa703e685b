"""Lists of a whole subscription for types of which a resource group has few: what they save, and
that nothing is lost where Azure refuses or shortens them.
"""

import asyncio

import pytest

from reconciler.api.kinds import Kind
from reconciler.arm.breadth import NARROW
from reconciler.arm.inventory import Inventory
from reconciler.engine.errors import ReconcileError, Throttled
from reconciler.engine.urgency import urgency

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
TYPE = "providers/Microsoft.App/managedEnvironments"
WIDE = f"{SUBSCRIPTION}/{TYPE}"
FORBIDDEN = {"error": {"code": "AuthorizationFailed", "message": "not over this scope"}}


def group(number):
    return f"{SUBSCRIPTION}/resourceGroups/rg-{number}"


def environment(number, **properties):
    """All have the same name, each in its own resource group."""
    id_ = f"{group(number)}/{TYPE}/cae"
    return {"id": id_.replace("resourceGroups", "resourcegroups"), "name": "cae", **properties}


class Stage:
    """`count` environments, and how many requests a look at all of them takes."""

    def __init__(self, arm, scripted, count):
        self.now, self.scripted, self.count = 100.0, scripted, count
        self.cache = Inventory(arm, clock=lambda: self.now)
        for number in range(count):
            one = environment(number)
            scripted.on("GET", f"{group(number)}/{TYPE}/cae", 200, one)
            scripted.on("GET", f"{group(number)}/{TYPE}", 200, {"value": [one]})

    def wide(self, status=200, body=None):
        every = [environment(number) for number in range(self.count)]
        self.scripted.on("GET", WIDE, status, body or {"value": every})

    async def look(self, *numbers):
        asked = len(self.scripted.asked)
        for number in numbers or range(self.count):
            found = await self.cache.look(Kind.ENVIRONMENT, group(number), "cae")
            assert group(number).lower() in found["id"].lower()
        return len(self.scripted.asked) - asked

    async def resync(self):
        self.now += 60
        return await self.look()


async def test_twenty_groups_cost_one_list(arm, scripted):
    """From the second resync on; in the first, two groups do not make it worth it."""
    stage = Stage(arm, scripted, 20)
    stage.wide()
    assert [await stage.resync() for _ in range(3)] == [3, 1, 1]


@pytest.mark.parametrize("count", [1, 2])
async def test_one_or_two_groups_cost_one_read_each(arm, scripted, count):
    """As without wide lists, which are not even asked for."""
    stage = Stage(arm, scripted, count)
    assert [await stage.resync() for _ in range(3)] == [count] * 3
    assert not any(path.startswith(f"{WIDE}?") for _, path, _ in scripted.asked)


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_a_refused_wide_list_is_no_error(arm, scripted, status):
    """A role at the scope of one resource group sees its group as before. For ten minutes the wide
    list is not asked for again.
    """
    stage = Stage(arm, scripted, 5)
    stage.wide(status, FORBIDDEN)
    stage.wide()
    assert [await stage.resync() for _ in range(3)] == [6, 5, 5]
    stage.now += NARROW - 60
    assert [await stage.resync() for _ in range(2)] == [3, 1]


async def test_a_throttled_wide_list_is_not_replaced_by_one_for_each_group(arm, scripted):
    """Azure asks for fewer requests, so nothing else is asked for; the wide list stays in use."""
    stage = Stage(arm, scripted, 5)
    scripted.on("GET", WIDE, 429, {"error": {"code": "TooManyRequests", "message": "slower"}})
    await stage.look(0, 1)
    asked = len(scripted.asked)
    for number in (2, 3, 4):
        with pytest.raises(Throttled):
            await stage.cache.look(Kind.ENVIRONMENT, group(number), "cae")
    assert all(path.startswith(WIDE) for _, path, _ in scripted.asked[asked:])
    assert not stage.cache._breadth._refused


async def test_what_a_wide_list_leaves_out_is_asked_for_alone(arm, scripted):
    """Azure shows each caller only what its role covers, and a list may lag. The environments of the
    other groups are found by name.
    """
    stage = Stage(arm, scripted, 5)
    shown = [environment(number) for number in (0, 1, 2)]
    stage.wide(200, {"value": shown})
    for _ in range(3):
        await stage.resync()
    stage.now += 60
    assert await stage.look(0, 1, 2) == 1
    assert await stage.look(3, 4) == 2


async def test_absence_is_confirmed_by_name(arm, scripted):
    """A wide list without the resource does not prove that it is gone; the answer by name does."""
    stage = Stage(arm, scripted, 4)
    stage.wide()
    await stage.resync()
    scripted.script.pop(("GET", f"{group(2)}/{TYPE}/cae".lower()))
    scripted.script[("GET", WIDE.lower())].clear()
    stage.wide(200, {"value": [environment(number) for number in (0, 1, 3)]})
    scripted.script.pop(("GET", f"{group(2)}/{TYPE}".lower()))
    stage.now += 60
    assert await stage.cache.look(Kind.ENVIRONMENT, group(2), "cae") is None
    asked = [path.partition("?")[0] for _, path, _ in scripted.asked]
    assert asked[-1] == f"{group(2)}/{TYPE}/cae"


@pytest.mark.parametrize(
    ("written", "again", "reason"),
    [
        (f"{group(4)}/{TYPE}/cae", True, "the list shows what was written"),
        (f"{group(4)}/{TYPE}/cae".upper(), True, "ids have no case"),
        (group(4), True, "a group takes all in it along"),
        (f"{group(4)}/providers/Microsoft.App/containerApps/a", False, "another type"),
        (f"{group(4)}/{TYPE}/cae/storages/s", False, "what is below it is not in the list"),
    ],
)
async def test_a_write_drops_the_wide_list(arm, scripted, written, again, reason):
    """As it drops the list of the resource group."""
    stage = Stage(arm, scripted, 5)
    stage.wide()
    await stage.resync()
    stage.cache.invalidate(written)
    assert await stage.look(0) == (1 if again else 0), reason


async def test_a_save_waits_for_no_wide_list(arm, scripted):
    """What a person waits for is read by name."""
    stage = Stage(arm, scripted, 5)
    stage.wide()
    await stage.resync()
    stage.now += 60
    with urgency(waited_for=True):
        assert await stage.look(3) == 1
    assert scripted.asked[-1][1].startswith(f"{group(3)}/{TYPE}/cae")


async def test_a_subscription_full_of_others_resources_is_not_listed(arm, scripted):
    """Ten pages would cost more than four reads."""
    stage = Stage(arm, scripted, 4)
    others = [{"id": f"{group('x')}/{TYPE}/e{n}", "name": f"e{n}"} for n in range(1000)]
    stage.wide(200, {"value": [*map(environment, range(4)), *others]})
    await stage.resync()
    assert await stage.resync() == 4


async def test_looks_share_the_list_of_what_is_ours(arm, scripted):
    """What was just listed for the whole subscription is not read again, whoever asked for it."""
    stage = Stage(arm, scripted, 2)
    stage.wide()
    assert len(await stage.cache.list_wide(Kind.ENVIRONMENT, SUBSCRIPTION)) == 2
    assert await stage.look() == 0


async def test_what_is_made_after_a_wide_list_is_listed_in_the_next(arm, scripted):
    """A daemon lists what is its own before it makes anything."""
    stage = Stage(arm, scripted, 4)
    scripted.on("GET", WIDE, 200, {"value": []})
    stage.wide()
    assert await stage.cache.list_wide(Kind.ENVIRONMENT, SUBSCRIPTION) == []
    assert [await stage.resync() for _ in range(3)] == [4, 1, 1]


async def test_a_failure_of_both_is_told_once_to_all(arm, scripted):
    """Nothing hides an Azure that does not answer."""
    stage = Stage(arm, scripted, 4)
    await stage.resync()
    scripted.script.clear()
    stage.now += 60
    for path in (WIDE, *(f"{group(n)}/{TYPE}{end}" for n in range(4) for end in ("", "/cae"))):
        scripted.on("GET", path, 503, {"error": {"code": "ServiceUnavailable", "message": "no"}})
    looks = (stage.cache.look(Kind.ENVIRONMENT, group(n), "cae") for n in range(4))
    found = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(each, ReconcileError) for each in found)
