"""Resource groups, Log Analytics workspaces and storage accounts, through the SDK's own pollers."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

ACCOUNT = {"location": "Sweden Central", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}


@pytest.fixture
async def group(clients, request):
    name = f"rg-{abs(hash(request.node.name)) % 10**10}"
    await clients.resources.resource_groups.create_or_update(
        name, {"location": "swedencentral", "tags": {"a": "1", "b": "2"}}
    )
    return name


async def test_a_group_lives_and_takes_everything_with_it(clients, group, slow_operations):
    """201 then 200, tags replaced by PATCH, HEAD, list, and a delete that is waited for."""
    groups = clients.resources.resource_groups
    assert (await clients.raw("PUT", clients.group(group), {"location": "Sweden Central"}))[
        0
    ] == 200
    assert dict((await groups.update(group, {"tags": {"c": "3"}})).tags) == {"c": "3"}
    assert await groups.check_existence(group)
    assert group in [found.name async for found in groups.list()]
    await (
        await clients.storage.storage_accounts.begin_create(group, f"st{group[3:]}", ACCOUNT)
    ).result()
    status, headers, _ = await clients.raw("DELETE", clients.group(group))
    assert status == 202
    assert "/operationresults/" in headers["Location"]
    assert (await clients.raw("GET", clients.group(group)))[2]["properties"][
        "provisioningState"
    ] == "Deleting"
    await (await groups.begin_delete(group)).result()
    assert not await groups.check_existence(group)
    assert (await clients.raw("GET", headers["Location"]))[0] == 200
    with pytest.raises(ResourceNotFoundError):
        await clients.storage.storage_accounts.get_properties(group, f"st{group[3:]}")


async def test_a_location_never_changes(clients, group):
    """Moving a resource is a conflict, and an unknown region is not available."""
    status, _, body = await clients.raw("PUT", clients.group(group), {"location": "westeurope"})
    assert (status, body["error"]["code"]) == (409, "InvalidResourceLocation")
    status, _, body = await clients.raw("PUT", clients.group("rg-mars"), {"location": "mars"})
    assert (status, body["error"]["code"]) == (400, "LocationNotAvailableForResourceGroup")


async def test_resources_are_listed_with_filters(clients, group):
    """The generic list knows every tracked resource of the group, by type and by tag, in pages."""
    name = f"st{group[3:]}"
    await (
        await clients.storage.storage_accounts.begin_create(
            group, name, {**ACCOUNT, "tags": {"owner": "m"}}
        )
    ).result()
    for number in range(3):
        body = {"location": "swedencentral"}
        await (
            await clients.logs.workspaces.begin_create_or_update(group, f"law-{number}", body)
        ).result()
    listed = clients.resources.resources.list_by_resource_group
    kinds = [found.type async for found in listed(group)]
    assert sorted(set(kinds)) == [
        "Microsoft.OperationalInsights/workspaces",
        "Microsoft.Storage/storageAccounts",
    ]
    by_type = [
        found.name
        async for found in listed(
            group, filter="resourceType eq 'Microsoft.Storage/storageAccounts'"
        )
    ]
    by_tag = [
        found.name async for found in listed(group, filter="tagName eq 'owner' and tagValue eq 'm'")
    ]
    assert by_type == by_tag == [name]
    _, _, body = await clients.raw("GET", f"{clients.group(group)}/resources", **{"$top": "2"})
    assert len(body["value"]) == 2
    _, _, rest = await clients.raw("GET", body["nextLink"])
    assert len(rest["value"]) == 2
    assert "nextLink" not in rest


async def test_an_account_is_made_in_its_own_time(clients, group, slow_operations):
    """202 without a body; listKeys is refused until it stands; then keys, defaults and the file
    endpoint are there.
    """
    name = f"st{group[3:]}"
    path = f"{clients.group(group)}/providers/Microsoft.Storage/storageAccounts/{name}"
    status, headers, body = await clients.raw("PUT", path, ACCOUNT, version="2026-09-01")
    assert (status, body) == (202, None)
    assert "retry-after-ms" in headers
    status, _, refused = await clients.raw("POST", f"{path}/listKeys", version="2026-09-01")
    assert (status, refused["error"]["code"]) == (409, "StorageAccountIsNotProvisioned")
    account = await (
        await clients.storage.storage_accounts.begin_create(group, f"{name}x", ACCOUNT)
    ).result()
    assert account.primary_endpoints.file == f"{clients.azure.endpoint}/{name}x/"
    assert (account.location, account.sku.tier, account.access_tier) == (
        "swedencentral",
        "Standard",
        "Hot",
    )
    status, _, again = await clients.raw(
        "PUT", f"{path}x", {**ACCOUNT, "tags": {"a": "b"}}, version="2026-09-01"
    )
    assert (status, again["tags"]) == (200, {"a": "b"})
    assert "key1" not in str(again["properties"].get("keys", ""))


async def test_account_names_are_global_and_strict(clients, group):
    """A taken name and a bad one are refused before anything starts."""
    name = f"st{group[3:]}"
    accounts = clients.storage.storage_accounts
    await (await accounts.begin_create(group, name, ACCOUNT)).result()
    check = await accounts.check_name_availability(
        {"name": name, "type": "Microsoft.Storage/storageAccounts"}
    )
    assert (check.name_available, check.reason) == (False, "AlreadyExists")
    await clients.resources.resource_groups.create_or_update(
        "rg-other", {"location": "swedencentral"}
    )
    with pytest.raises(ResourceExistsError) as failure:
        await accounts.begin_create("rg-other", name, ACCOUNT)
    assert failure.value.error.code == "StorageAccountAlreadyTaken"
    with pytest.raises(HttpResponseError) as failure:
        await accounts.begin_create(group, "Bad_Name", ACCOUNT)
    assert failure.value.error.code == "AccountNameInvalid"
    await accounts.delete(group, name)
    assert (
        await clients.raw(
            "DELETE", f"{clients.group(group)}/providers/Microsoft.Storage/storageAccounts/{name}"
        )
    )[0] == 204


async def test_shares_in_arm(clients, group):
    """PUT echoes, GET has the defaults, metadata is replaced, a missing share is ShareNotFound, a
    missing account its parent.
    """
    name = f"st{group[3:]}"
    await (await clients.storage.storage_accounts.begin_create(group, name, ACCOUNT)).result()
    base = f"{clients.group(group)}/providers/Microsoft.Storage/storageAccounts/{name}/fileServices/default/shares"
    status, headers, body = await clients.raw(
        "PUT", f"{base}/phi", {"properties": {}}, version="2026-09-01"
    )
    assert (status, body["properties"]) == (201, {})
    _, _, shown = await clients.raw("GET", f"{base}/phi", version="2026-09-01")
    assert (shown["etag"], shown["properties"]["shareQuota"]) == (headers["ETag"], 102400)
    assert shown["properties"]["leaseState"] == "available"
    for metadata in ({"k1": "v"}, {"k2": "v"}):
        _, _, body = await clients.raw(
            "PATCH", f"{base}/phi", {"properties": {"metadata": metadata}}, version="2026-09-01"
        )
    assert body["properties"]["metadata"] == {"k2": "v"}
    assert [share.name async for share in clients.storage.file_shares.list(group, name)] == ["phi"]
    _, _, body = await clients.raw("GET", f"{base}/none", version="2026-09-01")
    assert body["error"]["code"] == "ShareNotFound"
    assert (await clients.raw("DELETE", f"{base}/phi", version="2026-09-01"))[0] == 200
    assert (await clients.raw("DELETE", f"{base}/phi", version="2026-09-01"))[0] == 204
    _, _, body = await clients.raw(
        "DELETE", f"{base.replace(name, 'stnone')}/phi", version="2026-09-01"
    )
    assert body["error"]["code"] == "ParentResourceNotFound"


async def test_a_workspace_is_created_recovered_and_purged(clients, group):
    """201 with its own address to ask, shared keys, soft delete with recovery of the same id, purge
    with force.
    """
    workspaces = clients.logs.workspaces
    body = {"location": "swedencentral", "properties": {"sku": {"name": "Standalone"}}}
    path = f"{clients.group(group)}/providers/Microsoft.OperationalInsights/workspaces/law-x"
    status, headers, made = await clients.raw("PUT", path, body, version="2025-07-01")
    assert (status, made["properties"]["provisioningState"]) == (201, "Creating")
    assert headers["Location"].split("?")[0].endswith(path)
    while (shown := await workspaces.get(group, "law-x")).provisioning_state != "Succeeded":
        pass
    assert (shown.sku.name, shown.retention_in_days) == ("PerGB2018", 30)
    keys = await clients.logs.shared_keys.get_shared_keys(group, "law-x")
    assert keys.primary_shared_key
    await (await workspaces.begin_delete(group, "law-x")).result()
    assert (await clients.raw("GET", path, version="2025-07-01"))[0] == 404
    gone = [each async for each in clients.logs.deleted_workspaces.list_by_resource_group(group)]
    assert [(each.customer_id, each.provisioning_state) for each in gone] == [
        (shown.customer_id, "Succeeded")
    ]
    status, _, back = await clients.raw(
        "PUT", path, {"location": "swedencentral"}, version="2025-07-01"
    )
    assert (status, back["properties"]["customerId"]) == (200, shown.customer_id)
    before = keys.primary_shared_key
    assert (await clients.logs.shared_keys.regenerate(group, "law-x")).primary_shared_key != before
    assert [usage.limit async for usage in clients.logs.usages.list(group, "law-x")] == [-1.0]
    assert [entry async for entry in clients.logs.management_groups.list(group, "law-x")] == []
    await (await workspaces.begin_delete(group, "law-x", force=True)).result()
    status, _, fresh = await clients.raw(
        "PUT", path, {"location": "swedencentral"}, version="2025-07-01"
    )
    assert status == 201
    assert fresh["properties"]["customerId"] != shown.customer_id
