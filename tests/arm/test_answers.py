"""What the read cache takes from answers other than its own reads, so that nothing is asked for
that Azure has just said.
"""

import gc
import typing
from asyncio import sslproto

import pytest

from reconciler import memory
from reconciler.api.kinds import Kind
from reconciler.arm import ids, operations, resources, storage
from reconciler.arm.clients import Arm
from reconciler.arm.inventory import NEW, Inventory
from tests.arm.conftest import SUBSCRIPTION

GROUP = ids.resource_group(SUBSCRIPTION, "rg")
ACCOUNT = ids.storage_account(SUBSCRIPTION, "rg", "acct")
SHARE = ids.share(SUBSCRIPTION, "rg", "acct", "phi")
WORKSPACE = ids.workspace(SUBSCRIPTION, "rg", "law")
BODY = {"location": "swedencentral"}


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Asked:
    """Azure where nothing is; counts what it is asked for."""

    def __init__(self):
        self.paths = []

    async def get_json(self, path, api_version):
        self.paths.append(path)

    async def list_json(self, path, api_version):
        self.paths.append(path)
        return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def azure():
    return Asked()


@pytest.fixture
def cache(azure, clock):
    return Inventory(azure, clock=clock)


async def test_what_a_write_answered_is_a_look(arm, scripted):
    """Written and not read again; the next write makes it old."""
    scripted.on("PUT", SHARE, 201, {"id": SHARE.upper(), "properties": {"shareQuota": 100}})
    scripted.on("PUT", SHARE, 500, {"error": {"code": "InternalServerError", "message": "no"}})
    scripted.on("GET", SHARE, 200, {"id": SHARE, "properties": {"shareQuota": 7}})
    await storage.put_share(arm, "rg", "acct", "phi", {})
    found = await arm.inventory.look(Kind.SHARE, ACCOUNT, "phi")
    assert found["properties"] == {"shareQuota": 100}
    assert [method for method, *_ in scripted.asked] == ["PUT"]
    with pytest.raises(Exception, match="no"):
        await storage.put_share(arm, "rg", "acct", "phi", {})
    found = await arm.inventory.look(Kind.SHARE, ACCOUNT, "phi")
    assert found["properties"] == {"shareQuota": 7}


async def test_an_operation_that_ends_with_the_resource_is_a_look(arm, scripted, finished):
    """A workspace's operation is the workspace itself."""
    made = {"id": WORKSPACE, "properties": {"provisioningState": "Succeeded"}}
    begun = {"id": WORKSPACE, "properties": {"provisioningState": "Creating"}}
    scripted.on("PUT", WORKSPACE, 201, begun)
    scripted.on("GET", WORKSPACE, 200, made)
    operation = await resources.put_workspace(arm, "rg", "law", BODY)
    assert (await operations.poll(arm, operation.token, WORKSPACE)).done
    assert await arm.inventory.look(Kind.WORKSPACE, GROUP, "law") == made
    assert [method for method, *_ in scripted.asked] == ["PUT", "GET"]


async def test_an_answer_is_as_old_as_a_list_at_most(cache, azure, clock):
    """After two seconds it is read."""
    cache.learn(SHARE, {"id": SHARE, "name": "phi"})
    assert await cache.look(Kind.SHARE, ACCOUNT, "phi")
    clock.now += 2.1
    assert await cache.look(Kind.SHARE, ACCOUNT, "phi") is None
    assert azure.paths


async def test_an_operation_is_not_taken_for_its_resource(cache):
    """What has another id says nothing about the resource."""
    cache.learn(SHARE, {"id": "/subscriptions/x/operations/1", "status": "Succeeded"})
    assert not cache.doubt(SHARE)


async def test_an_answer_that_is_doubted_is_read(cache, azure):
    """A write may answer with less than a read: what differs is looked at again."""
    cache.learn(SHARE, {"id": SHARE})
    assert cache.doubt(SHARE)
    assert await cache.look(Kind.SHARE, ACCOUNT, "phi") is None
    assert azure.paths == [SHARE]


async def test_what_is_new_and_ours_holds_nothing_but_what_we_wrote(cache, azure, clock):
    """For ten seconds after its creation; a child that was written is read."""
    cache.made(ACCOUNT)
    assert await cache.look(Kind.SHARE, ACCOUNT, "phi") is None
    assert azure.paths == []
    cache.invalidate(SHARE)
    await cache.look(Kind.SHARE, ACCOUNT, "phi")
    assert azure.paths == [SHARE]
    assert await cache.look(Kind.SHARE, ACCOUNT, "other") is None
    assert azure.paths == [SHARE]
    clock.now += NEW + 0.1
    await cache.look(Kind.SHARE, ACCOUNT, "other")
    assert len(azure.paths) > 1


async def test_a_long_creation_counts_from_its_end(cache, azure, clock):
    """Nothing can be put into an environment that is being created."""
    cache.made(ACCOUNT)
    clock.now += 300
    cache.ended(ACCOUNT)
    assert await cache.look(Kind.SHARE, ACCOUNT, "phi") is None
    assert azure.paths == []


async def test_a_new_group_is_looked_into(cache, azure):
    """Another set of documents may name the group, and write there as early as we do."""
    cache.made(GROUP)
    assert cache.is_new(GROUP)
    await cache.look(Kind.STORAGE_ACCOUNT, GROUP, "acct")
    assert azure.paths == [ACCOUNT]


async def test_a_new_group_holds_what_we_put_into_it(cache, clock):
    """A document that renames a resource of a new group is told so: the old one is there."""
    assert not cache.holds_none(Kind.WORKSPACE, GROUP)
    cache.made(GROUP)
    assert cache.holds_none(Kind.WORKSPACE, GROUP)
    cache.made(WORKSPACE)
    cache.invalidate(WORKSPACE)
    assert not cache.holds_none(Kind.WORKSPACE, GROUP)
    assert cache.holds_none(Kind.STORAGE_ACCOUNT, GROUP)
    clock.now += NEW + 0.1
    assert not cache.holds_none(Kind.STORAGE_ACCOUNT, GROUP)


async def test_what_was_deleted_is_not_new(cache, azure):
    """Whatever is there by that name now, we did not see it begin."""
    cache.made(ACCOUNT)
    cache.invalidate(GROUP)
    assert not cache.is_new(ACCOUNT)
    await cache.look(Kind.SHARE, ACCOUNT, "phi")
    assert azure.paths == [SHARE]


async def test_a_group_that_is_missing_holds_nothing(arm, scripted):
    """One 404 answers for all that would be in it, until it is written."""
    absent = {"error": {"code": "ResourceGroupNotFound", "message": "no such group"}}
    scripted.on("GET", f"{GROUP}/providers/Microsoft.Storage/storageAccounts", 404, absent)
    assert await arm.inventory.list(Kind.STORAGE_ACCOUNT, GROUP) == []
    assert await arm.inventory.list(Kind.APP, GROUP) == []
    assert await arm.inventory.look(Kind.SHARE, ACCOUNT, "phi") is None
    assert (
        await arm.inventory.look(Kind.RESOURCE_GROUP, f"/subscriptions/{SUBSCRIPTION}", "rg")
        is None
    )
    assert len(scripted.asked) == 1
    arm.inventory.invalidate(GROUP)
    await arm.inventory.look(Kind.WORKSPACE, GROUP, "law")
    assert len(scripted.asked) == 2


async def test_a_tls_connection_reads_into_a_small_buffer(scripted, monkeypatch):
    """64 KB instead of 256 KB, of which the answers of Azure fill little; a larger one is whole."""
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 256 << 10)
    memory.keep_connections_small()
    scripted.on("GET", "/large", 200, {"value": "x" * 3_000_000})
    async with Arm(scripted.settings()) as arm:
        assert len((await arm.get_json("/large", "1"))["value"]) == 3_000_000
        # `isinstance` would ask each object for its class, at which one of torch's warns.
        ours = [each for each in gc.get_objects() if type(each) is sslproto.SSLProtocol]
        sizes = {len(each._ssl_buffer) for each in ours if not each._server_side}
    assert sizes == {memory.TLS_BUFFER}


async def test_overloads_of_the_sdk_are_not_kept(scripted):
    """Python keeps them for programs that ask; two SDKs have 1,650, which are 2 MB."""
    async with Arm(scripted.settings()) as arm:
        assert arm.storage
        assert arm.apps
        assert typing.get_overloads(type(arm.apps.container_apps).begin_create_or_update) == []
