"""Storage accounts, file services and shares as ARM shows them: defaults, what may change, copies,
and having deleted ones back.
"""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

VERSION = "2023-05-01"


@pytest.fixture
async def make(clients, request):
    """Makes an account of its own in a group of its own; gives both names."""
    group, name = "rg-storage", f"st{abs(hash(request.node.name)) % 10**12}"
    await clients.resources.resource_groups.create_or_update(group, {"location": "eastus"})

    async def account(kind="StorageV2", sku="Standard_LRS", **properties):
        body = {"location": "eastus", "kind": kind, "sku": {"name": sku}, "properties": properties}
        await (await clients.storage.storage_accounts.begin_create(group, name, body)).result()
        return group, name

    return account


def path_of(clients, group, name):
    return f"{clients.group(group)}/providers/Microsoft.Storage/storageAccounts/{name}"


@pytest.mark.parametrize(
    ("kind", "sku", "primary", "secondary", "tier", "reason"),
    [
        (
            "StorageV2",
            "Standard_LRS",
            "blob dfs file queue table web",
            "",
            "Hot",
            "everything, in one place",
        ),
        (
            "StorageV2",
            "Standard_RAGRS",
            "blob dfs file queue table web",
            "blob dfs queue table web",
            "Hot",
            "readable elsewhere",
        ),
        (
            "StorageV2",
            "Standard_GRS",
            "blob dfs file queue table web",
            "",
            "Hot",
            "elsewhere, but not readable",
        ),
        (
            "Storage",
            "Standard_LRS",
            "blob file queue table",
            "",
            None,
            "the oldest kind has no tiers",
        ),
        ("BlobStorage", "Standard_LRS", "blob dfs table", "", "Hot", "no files"),
        ("FileStorage", "Premium_LRS", "file", "", None, "nothing but files"),
    ],
)
async def test_an_account_is_filled_in_by_kind_and_sku(
    clients, make, kind, sku, primary, secondary, tier, reason
):
    """Endpoints, the second region and the access tier follow from the kind and the SKU."""
    group, name = await make(kind, sku)
    shown = await clients.storage.storage_accounts.get_properties(group, name)
    assert " ".join(sorted(shown.properties.primary_endpoints.as_dict())) == primary, reason
    assert (
        " ".join(
            sorted(
                (shown.properties.secondary_endpoints or {}) and shown.secondary_endpoints.as_dict()
            )
        )
        == secondary
    )
    assert shown.properties.secondary_location == ("westus" if "G" in sku.split("_")[1] else None)
    assert shown.properties.access_tier == tier, reason


@pytest.mark.parametrize(
    ("kind", "sku", "properties", "code", "reason"),
    [
        (
            "BlobStorage",
            "Standard_LRS",
            {"keyPolicy": {"keyExpirationPeriodInDays": -1}},
            "InvalidValuesForRequestParameters",
            "days",
        ),
        (
            "FileStorage",
            "Standard_LRS",
            {},
            "InvalidValuesForRequestParameters",
            "files alone are premium",
        ),
        ("StorageV3", "Standard_LRS", {}, "InvalidRequestPropertyValue", "no such kind"),
        ("StorageV2", "Cheap_LRS", {}, "InvalidRequestPropertyValue", "no such SKU"),
        (
            "StorageV2",
            "Standard_LRS",
            {"minimumTlsVersion": "SSL3"},
            "InvalidRequestPropertyValue",
            "no such protocol",
        ),
    ],
)
async def test_what_an_account_cannot_be(clients, make, kind, sku, properties, code, reason):
    """Wrong settings are refused by the name of the field and leave nothing behind."""
    with pytest.raises(HttpResponseError) as refused:
        await make(kind, sku, **properties)
    assert (refused.value.status_code, refused.value.error.code) == (400, code), reason


async def test_a_patch_merges_and_keeps_what_is_fixed(clients, make):
    """Rules and encryption are merged and completed, tags replaced, an old kind may grow, a fixed
    field may not change.
    """
    group, name = await make("Storage")
    network = {"virtualNetworkRules": [{"id": "/subscriptions/s/x"}], "defaultAction": "Deny"}
    encryption = {"services": {"blob": {"enabled": True}}, "keySource": "Microsoft.Storage"}
    body = {
        "kind": "StorageV2",
        "tags": {"a": "b"},
        "properties": {"networkAcls": network, "encryption": encryption},
    }
    path = path_of(clients, group, name)
    status, _, shown = await clients.raw("PATCH", path, body, version=VERSION)
    properties = shown["properties"]
    assert (status, shown["kind"], properties["accessTier"], shown["tags"]) == (
        200,
        "StorageV2",
        "Hot",
        {"a": "b"},
    )
    assert properties["networkAcls"]["virtualNetworkRules"][0] == {
        "action": "Allow", "id": "/subscriptions/s/x", "state": "Succeeded",
    }  # fmt: skip
    assert set(properties["encryption"]["services"]) == {"blob", "file"}
    _, _, again = await clients.raw(
        "PATCH", path, {"identity": {"type": "SystemAssigned"}}, version=VERSION
    )
    assert again["identity"]["principalId"]
    assert again["properties"]["networkAcls"]["defaultAction"] == "Deny"
    status, _, refused = await clients.raw("PATCH", path, {"kind": "BlobStorage"}, version=VERSION)
    assert (status, refused["error"]["code"]) == (400, "AccountPropertyCannotBeUpdated")


async def test_older_versions_show_what_they_knew(clients, make):
    """A default that came with a later api-version is not shown by an earlier one, unless somebody
    set it.
    """
    group, name = await make()
    path = path_of(clients, group, name)
    _, _, old = await clients.raw("GET", path, version="2021-04-01")
    _, _, new = await clients.raw("GET", path, version=VERSION)
    added = {"minimumTlsVersion", "allowBlobPublicAccess", "allowCrossTenantReplication"}
    assert set(new["properties"]) - set(old["properties"]) == added
    await clients.raw(
        "PATCH", path, {"properties": {"minimumTlsVersion": "TLS1_1"}}, version=VERSION
    )
    _, _, old = await clients.raw("GET", path, version="2021-04-01")
    assert old["properties"]["minimumTlsVersion"] == "TLS1_1"


async def test_a_file_service_keeps_the_sections_that_are_not_sent(clients, make):
    """The answer echoes; GET has SMB, CORS and seven days of soft delete; a premium account has
    multichannel.
    """
    group, name = await make("FileStorage", "Premium_LRS")
    path = f"{path_of(clients, group, name)}/fileServices/default"
    _, _, shown = await clients.raw("GET", path, version=VERSION)
    assert shown["properties"]["shareDeleteRetentionPolicy"] == {"enabled": True, "days": 7}
    smb = {"protocolSettings": {"smb": {"multichannel": {"enabled": True}}}}
    _, _, echo = await clients.raw("PUT", path, {"properties": smb}, version=VERSION)
    assert echo["properties"] == smb
    await clients.raw(
        "PUT",
        path,
        {"properties": {"shareDeleteRetentionPolicy": {"enabled": False}}},
        version=VERSION,
    )
    _, _, shown = await clients.raw("GET", path, version=VERSION)
    assert shown["properties"]["shareDeleteRetentionPolicy"] == {"enabled": False, "days": 0}
    assert shown["properties"]["protocolSettings"] == smb["protocolSettings"]
    wrong = {"shareDeleteRetentionPolicy": {"enabled": True, "days": 366}}
    assert (await clients.raw("PUT", path, {"properties": wrong}, version=VERSION))[0] == 400


async def test_a_deleted_share_can_be_had_back_with_its_files(clients, make):
    """Deleting hides a share for its retention; restoring needs its version and a free name, and
    brings the files.
    """
    group, name = await make()
    shares = clients.storage.file_shares
    await shares.create(group, name, "phi", {"properties": {}})
    folder = clients.azure.state / "files" / name / "phi"
    (folder / "model.bin").write_text("weights")
    await shares.delete(group, name, "phi")
    assert not folder.exists()
    with pytest.raises(ResourceNotFoundError):
        await shares.get(group, name, "phi")
    assert [share.name async for share in shares.list(group, name)] == []
    [gone] = [share async for share in shares.list(group, name, expand="deleted")]
    assert (gone.name, gone.properties.deleted, gone.properties.remaining_retention_days) == (
        "phi",
        True,
        7,
    )
    assert gone.id.endswith(f"/phi_{gone.properties.version}")
    await shares.create(group, name, "phi", {"properties": {}})
    body = {"deletedShareName": "phi", "deletedShareVersion": gone.properties.version}
    with pytest.raises(HttpResponseError) as refused:
        await shares.restore(group, name, "phi", body)
    assert refused.value.error.code == "ShareAlreadyExists"
    await clients.storage.file_services.set_service_properties(
        group, name, {"properties": {"shareDeleteRetentionPolicy": {"enabled": False}}}
    )
    await shares.delete(group, name, "phi")
    await shares.restore(group, name, "phi", body)
    assert (folder / "model.bin").read_text() == "weights"


async def test_a_snapshot_keeps_the_share_and_its_own_metadata(clients, make):
    """A share with snapshots is not deleted without them; a snapshot is read and deleted by its
    time.
    """
    group, name = await make()
    shares = clients.storage.file_shares
    await shares.create(group, name, "phi", {"properties": {"shareQuota": 7}})
    made = await shares.create(
        group, name, "phi", {"properties": {"metadata": {"k": "v"}}}, expand="snapshots"
    )
    headers = {"x-ms-snapshot": made["properties"]["snapshotTime"]}
    kept = await shares.get(group, name, "phi", headers=headers)
    assert (kept["properties"]["metadata"], kept["properties"]["shareQuota"]) == ({"k": "v"}, 7)
    assert "metadata" not in (await shares.get(group, name, "phi"))["properties"]
    listed = [
        share.properties.snapshot_time
        async for share in shares.list(group, name, expand="snapshots")
    ]
    assert [time is None for time in listed] == [False, True]
    with pytest.raises(HttpResponseError) as refused:
        await shares.delete(group, name, "phi", include="none")
    assert (refused.value.status_code, refused.value.error.code) == (409, "ShareHasSnapshots")
    await shares.delete(group, name, "phi", headers=headers)
    await shares.delete(group, name, "phi")


async def test_a_list_of_shares_leaves_the_metadata_out(clients, make):
    """As in every recorded list; a GET of the share has it."""
    group, name = await make()
    shares = clients.storage.file_shares
    await shares.create(group, name, "phi", {"properties": {"metadata": {"k": "v"}}})
    assert [share.metadata async for share in shares.list(group, name)] == [None]
    assert (await shares.get(group, name, "phi")).metadata == {"k": "v"}


async def test_a_share_is_leased_and_given_policies_through_arm(clients, make):
    """A lease keeps a share, stored policies are shown, and the bytes are counted when
    asked for.
    """
    group, name = await make()
    shares = clients.storage.file_shares
    policy = {
        "id": "readers",
        "accessPolicy": {"permission": "rl", "expiryTime": "2030-01-01T00:00:00.0000000Z"},
    }
    await shares.create(group, name, "phi", {"properties": {"signedIdentifiers": [policy]}})
    (clients.azure.state / "files" / name / "phi" / "x").write_bytes(b"12345")
    shown = await shares.get(group, name, "phi", expand="stats")
    assert (
        shown["properties"]["shareUsageBytes"],
        shown["properties"]["signedIdentifiers"][0]["id"],
    ) == (5, "readers")
    for wrong in ("long", True, [60], "\udcff", 5):
        with pytest.raises(HttpResponseError) as refused:
            await shares.lease(group, name, "phi", {"action": "Acquire", "leaseDuration": wrong})
        assert refused.value.status_code == 400, wrong
    held = await shares.lease(group, name, "phi", {"action": "Acquire", "leaseDuration": -1})
    assert (await shares.get(group, name, "phi"))["properties"]["leaseState"] == "leased"
    with pytest.raises(HttpResponseError):
        await shares.delete(group, name, "phi")
    await shares.lease(group, name, "phi", {"action": "Release", "leaseId": held.lease_id})
    await shares.delete(group, name, "phi")


async def test_an_account_without_files_has_no_shares(clients, make):
    """Blob accounts refuse the file service by name."""
    group, name = await make("BlobStorage")
    with pytest.raises(HttpResponseError) as refused:
        await clients.storage.file_shares.create(group, name, "phi", {"properties": {}})
    assert (refused.value.status_code, refused.value.error.code) == (
        409,
        "FeatureNotSupportedForAccount",
    )


async def test_an_account_takes_only_identities_that_exist(clients, make):
    """Azure Storage passes on the refusal of the identities' own provider as text; the same request
    goes through once the identity is there, and the identity is the same for both.
    """
    (group, name), there = await make(), "2023-01-31"
    identity = (
        f"{clients.group(group)}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-one"
    )
    body = {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}
    account = path_of(clients, group, name)
    status, _, refused = await clients.raw("PATCH", account, body, VERSION)
    assert (status, refused["error"]["code"]) == (400, "FailedIdentityOperation")
    assert '{"error":{"code":"BadRequest"' in refused["error"]["message"]
    status, _, made = await clients.raw("PUT", identity, {"location": "eastus"}, there)
    assert (status, made["tags"]) == (201, {})
    status, _, shown = await clients.raw("PATCH", account, body, VERSION)
    (used,) = shown["identity"]["userAssignedIdentities"].values()
    known = made["properties"]
    assert (status, used["principalId"]) == (200, known["principalId"])
    assert used["clientId"] == known["clientId"]
    assert (await clients.raw("DELETE", identity, None, there))[0] == 200
    assert (await clients.raw("GET", identity, None, there))[0] == 404
