"""The read cache: who shares a list, and when it is read again."""

import asyncio

import pytest

from reconciler.api.kinds import Kind
from reconciler.arm.clients import Arm, user_agent
from reconciler.arm.inventory import Inventory
from reconciler.engine.errors import TransportFailed
from reconciler.engine.urgency import urgency

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg"
APPS = f"{GROUP}/providers/Microsoft.App/containerApps"


def page(*names):
    return {"value": [{"name": name} for name in names]}


async def test_a_hundred_observers_share_one_list(arm, scripted):
    """Names are compared without case, and a missing name costs no further request."""
    scripted.on("GET", APPS, 200, page("phi", "Sales"))
    names = ["phi", "SALES", "none"] * 34
    found = await asyncio.gather(*(arm.inventory.find(Kind.APP, GROUP, name) for name in names))
    assert [each and each["name"] for each in found[:3]] == ["phi", "Sales", None]
    assert len(scripted.asked) == 1
    assert arm.calls["GET"] == 1


async def test_a_list_follows_its_links(arm, scripted):
    """nextLink is a full URL with its own query and is asked as it is."""
    scripted.on(
        "GET",
        APPS,
        200,
        {**page("a"), "nextLink": f"{scripted.url}{APPS}/next?api-version=2026-07-01&skip=1"},
    )
    scripted.on("GET", f"{APPS}/next", 200, page("b"))
    assert [each["name"] for each in await arm.inventory.list(Kind.APP, GROUP)] == ["a", "b"]
    assert scripted.asked[1][1].endswith("next?api-version=2026-07-01&skip=1")


async def test_a_scope_that_does_not_exist_holds_nothing(arm):
    """A list in a missing resource group is 404 in Azure and empty here."""
    assert await arm.inventory.list(Kind.APP, GROUP) == []
    assert await arm.inventory.get(Kind.APP, GROUP, "phi") is None


async def test_a_list_lives_two_seconds(arm, scripted):
    """Time is the cache's own clock."""
    now = [100.0]
    cache = Inventory(arm, clock=lambda: now[0])
    scripted.on("GET", APPS, 200, page("phi"))
    await cache.list(Kind.APP, GROUP)
    now[0] += 1.9
    await cache.list(Kind.APP, GROUP)
    assert len(scripted.asked) == 1
    now[0] += 0.2
    await cache.list(Kind.APP, GROUP)
    assert len(scripted.asked) == 2


async def test_the_first_few_of_a_long_list_are_read_alone(arm, scripted):
    """A save of one of a thousand apps costs one read, a resync of all of them three more than the
    list.
    """
    now = [100.0]
    cache = Inventory(arm, clock=lambda: now[0])
    names = [f"app-{number}" for number in range(150)]
    scripted.on("GET", APPS, 200, page(*names))
    await cache.list(Kind.APP, GROUP)
    now[0] += 5
    for name in names[:3]:
        scripted.on("GET", f"{APPS}/{name}", 200, {"name": name})
    for name in names:
        assert (await cache.look(Kind.APP, GROUP, name))["name"] == name
    asked = [path for _, path, *_ in scripted.asked]
    assert len(asked) == 1 + 3 + 1
    now[0] += 1
    assert (await cache.look(Kind.APP, GROUP, names[0]))["name"] == names[0]
    assert len(scripted.asked) == 5


async def test_a_save_does_not_wait_for_a_long_list_on_its_way(arm, scripted, monkeypatch):
    """A resync has begun to read ten pages. What a person waits for is read beside them, and every
    other object waits for the pages.
    """
    names = [f"app-{number}" for number in range(150)]
    scripted.on("GET", APPS, 200, page(*names))
    scripted.on("GET", f"{APPS}/app-70", 200, {"name": "app-70"})
    cache, pages, read = Inventory(arm), asyncio.Event(), arm.list_json
    await cache.list(Kind.APP, GROUP)  # so that it is known to be long
    cache.invalidate(f"{APPS}/app-1")

    async def slowly(path, version):
        await pages.wait()
        return await read(path, version)

    monkeypatch.setattr(arm, "list_json", slowly)
    listing = asyncio.create_task(cache.list(Kind.APP, GROUP))
    await asyncio.sleep(0)
    other = asyncio.create_task(cache.look(Kind.APP, GROUP, "app-80"))
    with urgency(waited_for=True):
        found = await asyncio.wait_for(cache.look(Kind.APP, GROUP, "app-70"), 30)
    assert found == {"name": "app-70"}
    assert not other.done()
    pages.set()
    assert (await other)["name"] == "app-80"
    assert len(await listing) == 150


async def test_what_is_made_is_read_alone(arm, scripted):
    """The first of a scope needs no list, neither before nor after it is made; the second does, and
    what the list lacks is asked for by name.
    """
    scripted.on("GET", f"{APPS}/phi", 404, {"error": {"code": "ResourceNotFound"}})
    scripted.on("GET", f"{APPS}/phi", 200, {"name": "phi"})
    assert await arm.inventory.look(Kind.APP, GROUP, "phi") is None
    assert len(scripted.asked) == 1
    scripted.on("GET", APPS, 200, page("sales"))
    assert await arm.inventory.look(Kind.APP, GROUP, "sales") is not None
    assert await arm.inventory.look(Kind.APP, GROUP, "phi") is not None
    assert len(scripted.asked) == 3


@pytest.mark.parametrize(
    ("written", "again", "reason"),
    [
        (f"{APPS}/phi", True, "the list shows what was written"),
        (f"{APPS}/phi".upper(), True, "ids have no case"),
        (GROUP, True, "all lists below a written scope"),
        (
            f"{GROUP}/providers/Microsoft.App/managedEnvironments/cae",
            False,
            "another type in the same group",
        ),
        (f"{GROUP}2", False, "another group whose name begins alike"),
    ],
)
async def test_a_write_makes_the_next_read_fresh(arm, scripted, written, again, reason):
    """Only the lists that a write can change are dropped."""
    scripted.on("GET", APPS, 200, page("phi"))
    await arm.inventory.list(Kind.APP, GROUP)
    arm.inventory.invalidate(written)
    await arm.inventory.list(Kind.APP, GROUP)
    assert len(scripted.asked) == (2 if again else 1), reason


async def test_a_read_that_began_before_a_write_is_not_kept(arm, scripted):
    """Who asks after the write gets a list that was asked for after it."""
    scripted.on("GET", APPS, 200, page("old"))
    scripted.on("GET", APPS, 200, page("new"))
    before = asyncio.ensure_future(arm.inventory.list(Kind.APP, GROUP))
    await asyncio.sleep(0)
    arm.inventory.invalidate(f"{APPS}/phi")
    after = await arm.inventory.list(Kind.APP, GROUP)
    names = {(await before)[0]["name"], after[0]["name"]}
    assert names == {"old", "new"}


async def test_a_failure_is_shared_but_not_kept(arm, scripted):
    """All who wait for the same list hear of it; the next one asks again."""
    scripted.on("GET", APPS, 503, {"error": {"code": "ServiceUnavailable", "message": "later"}})
    scripted.on("GET", APPS, 200, page("phi"))
    both = await asyncio.gather(
        *(arm.inventory.list(Kind.APP, GROUP) for _ in range(2)), return_exceptions=True
    )
    assert [type(each) for each in both] == [TransportFailed, TransportFailed]
    assert len(await arm.inventory.list(Kind.APP, GROUP)) == 1


async def test_one_cancelled_observer_does_not_take_the_list_from_the_others(arm, scripted):
    """The read goes on for those who still wait."""
    scripted.on("GET", APPS, 200, page("phi"))
    first = asyncio.ensure_future(arm.inventory.list(Kind.APP, GROUP))
    second = asyncio.ensure_future(arm.inventory.list(Kind.APP, GROUP))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 1
    assert len(scripted.asked) == 1


async def test_one_connection_serves_many_calls(arm, scripted):
    """The token is fetched once and the TLS connection is kept."""
    scripted.on("GET", APPS, 200, page("phi"))
    for _ in range(5):
        await arm.get_json(APPS, "2026-07-01")
    assert scripted.tokens == 1
    assert scripted.headers[0]["Authorization"] == "Bearer a-token"
    assert scripted.headers[0]["User-Agent"].startswith("moorage")


async def test_the_environment_adds_to_the_user_agent(scripted, monkeypatch):
    """As in Azure's SDKs, and once only: it tells two daemons apart."""
    monkeypatch.setenv("AZURE_HTTP_USER_AGENT", "second-daemon")
    user_agent.cache_clear()
    scripted.on("GET", APPS, 200, page("phi"))
    async with Arm(scripted.settings()) as arm:
        await arm.get_json(APPS, "2026-07-01")
    user_agent.cache_clear()
    sent = scripted.headers[0]["User-Agent"].split()
    assert (sent[0][:7], sent[1:]) == ("moorage", ["second-daemon"])


async def test_unreachable_is_a_transport_failure(scripted):
    """Nobody listens there; the message names no secret."""
    async with Arm(scripted.settings(arm_endpoint="https://127.0.0.1:1")) as nowhere:
        with pytest.raises(TransportFailed) as refused:
            await nowhere.get_json("/x", "1")
    assert "hush" not in str(refused.value)


def test_api_versions_are_those_of_the_pinned_sdks():
    """Raw reads and typed writes speak of one shape; a new SDK release shows here first."""
    from azure.mgmt.appcontainers.aio import ContainerAppsAPIClient
    from azure.mgmt.loganalytics.aio import LogAnalyticsManagementClient
    from azure.mgmt.resource.resources.aio import ResourceManagementClient
    from azure.mgmt.storage.aio import StorageManagementClient

    from reconciler.api import versions

    class Nobody:
        async def get_token(self, *_scopes, **_options):
            raise AssertionError

    for kind, expected in [
        (ContainerAppsAPIClient, versions.APP),
        (LogAnalyticsManagementClient, versions.LOG_ANALYTICS),
        (ResourceManagementClient, versions.RESOURCES),
        (StorageManagementClient, versions.STORAGE),
    ]:
        assert kind(Nobody(), "s")._config.api_version == expected
