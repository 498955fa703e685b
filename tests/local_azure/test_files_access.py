"""Who may do what on the data plane: shared access signatures, stored policies, leases of files,
the share's quota.
"""

import os
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.fileshare import (
    AccessPolicy,
    AccountSasPermissions,
    FileSasPermissions,
    ResourceTypes,
    ShareSasPermissions,
    generate_account_sas,
    generate_file_sas,
    generate_share_sas,
)
from azure.storage.fileshare.aio import (
    ShareClient,
    ShareFileClient,
    ShareLeaseClient,
    ShareServiceClient,
)

GIB = 1024**3


def soon(hours: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


@pytest.fixture
async def share(share_service):
    client = share_service.get_share_client("signed")
    await client.create_share(quota=1)
    await client.get_directory_client("folder").create_directory()
    await client.get_file_client("folder/a.txt").upload_file(b"content")
    return client


@pytest.fixture
def holder(azure, share):
    """A client of the share that has nothing but a SAS."""

    def make(sas: str, path: str = "") -> ShareClient | ShareFileClient:
        common = {"credential": sas, "connection_verify": azure.facts["caFile"], "retry_total": 0}
        base = share.url.removesuffix("/signed")
        if path:
            return ShareFileClient(base, "signed", path, **common)
        return ShareClient(base, "signed", **common)

    return make


def account_sas(share, key: str | None = None, **changes) -> str:
    wanted = {
        "resource_types": ResourceTypes(service=True, container=True, object=True),
        "permission": AccountSasPermissions(
            read=True, write=True, delete=True, list=True, create=True
        ),
        "expiry": soon(),
        **changes,
    }
    return generate_account_sas(share.account_name, key or share.credential.account_key, **wanted)


async def test_an_account_sas_does_what_the_key_does(azure, share, holder):
    """With every right a signature lists shares, makes and removes one, and reads and
    writes files.
    """
    sas = account_sas(share)
    async with ShareServiceClient(
        share.url.removesuffix("/signed"), credential=sas, connection_verify=azure.facts["caFile"]
    ) as service:
        assert [found.name async for found in service.list_shares()] == ["signed"]
        await service.create_share("another")
        await service.delete_share("another")
    async with holder(sas) as client:
        await client.get_file_client("folder/b.txt").upload_file(b"more")
        assert [entry.name async for entry in client.list_directories_and_files("folder")] == [
            "a.txt",
            "b.txt",
        ]


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        (
            {"permission": AccountSasPermissions(write=True)},
            "AuthorizationPermissionMismatch",
            "it may not read",
        ),
        (
            {"resource_types": ResourceTypes(container=True)},
            "AuthorizationResourceTypeMismatch",
            "a file is an object",
        ),
        ({"services": "b"}, "AuthorizationServiceMismatch", "signed for blobs"),
        ({"expiry": soon(-1)}, "AuthenticationFailed", "it has run out"),
        ({"start": soon(0.5)}, "AuthenticationFailed", "it does not hold yet"),
        ({"ip": "10.0.0.1"}, "AuthorizationSourceIPMismatch", "another machine"),
        ({"ip": "10.0.0.1-10.0.0.9"}, "AuthorizationSourceIPMismatch", "other machines"),
        ({"key": "bm90IHRoZSBrZXk="}, "AuthenticationFailed", "signed with another key"),
    ],
)
async def test_an_account_sas_is_held_to_what_it_names(share, holder, changes, code, reason):
    """Each limit of an account SAS refuses with Azure's own code."""
    async with holder(account_sas(share, **changes), "folder/a.txt") as client:
        with pytest.raises(HttpResponseError) as failure:
            await client.download_file()
    assert (failure.value.status_code, failure.value.error_code) == (403, code), reason


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.0.0.0-127.0.0.9"])
async def test_an_address_that_is_named_may_read(share, holder, ip):
    """The address the request comes from lies in the range that was signed."""
    async with holder(account_sas(share, ip=ip, protocol="https"), "folder/a.txt") as client:
        assert await (await client.download_file()).readall() == b"content"


async def test_a_service_sas_is_for_what_lies_in_the_share(share, holder):
    """A share's SAS reads and lists what is in it; the share itself it neither describes nor
    deletes.
    """
    allowed = ShareSasPermissions(read=True, list=True, delete=True)
    sas = generate_share_sas(
        share.account_name, "signed", share.credential.account_key, allowed, soon()
    )
    async with holder(sas) as client:
        assert [entry.name async for entry in client.list_directories_and_files()] == ["folder"]
        assert (
            await (await client.get_file_client("folder/a.txt").download_file()).readall()
            == b"content"
        )
        for refused in (client.get_share_properties(), client.delete_share()):
            with pytest.raises(HttpResponseError) as failure:
                await refused
            assert (failure.value.status_code, failure.value.error_code) == (
                403,
                "AuthorizationFailure",
            )


async def test_a_files_sas_is_for_that_file_alone(share, holder):
    """Another path does not match the signature; a download has the headers that the signature
    overrides.
    """
    allowed = FileSasPermissions(read=True)
    sas = generate_file_sas(
        share.account_name,
        "signed",
        ["folder", "a.txt"],
        share.credential.account_key,
        allowed,
        soon(),
        content_type="text/plain",
        content_disposition="attachment; filename=b.txt",
    )
    await share.get_file_client("folder/c.txt").upload_file(b"other")
    async with holder(sas, "folder/a.txt") as client:
        settings = (await client.get_file_properties()).content_settings
    assert (settings.content_type, settings.content_disposition) == (
        "text/plain",
        "attachment; filename=b.txt",
    )
    async with holder(sas, "folder/c.txt") as client:
        with pytest.raises(HttpResponseError) as failure:
            await client.download_file()
    assert failure.value.error_code == "AuthenticationFailed"


async def test_a_stored_policy_gives_and_takes(clients, share, holder):
    """A SAS that names a policy has its rights, loses them with it, and ARM shows the policy
    meanwhile.
    """
    policy = AccessPolicy(permission=ShareSasPermissions(read=True, list=True), expiry=soon())
    await share.set_share_access_policy({"reader": policy})
    seen = await clients.storage.file_shares.get("rg-files", share.account_name, "signed")
    assert [entry["id"] for entry in seen["properties"]["signedIdentifiers"]] == ["reader"]
    sas = generate_share_sas(
        share.account_name, "signed", share.credential.account_key, policy_id="reader"
    )
    async with holder(sas) as client:
        assert [entry.name async for entry in client.list_directories_and_files()] == ["folder"]
        await share.set_share_access_policy({})
        with pytest.raises(HttpResponseError) as failure:
            [entry async for entry in client.list_directories_and_files()]
    assert failure.value.error_code == "AuthenticationFailed"


async def test_a_refused_signature_says_why(share, holder, http):
    """The body has Azure's detail beside the message; a request that names no right at all gets
    401.
    """
    answer = await http.get(
        f"/{share.account_name}/signed/folder/a.txt?{account_sas(share, expiry=soon(-1))}"
    )
    text = await answer.text()
    assert answer.status == 403
    assert (
        "<AuthenticationErrorDetail>Signature not valid in the specified time frame: Start []"
        in text
    )
    assert (await http.get(f"/{share.account_name}/signed/folder/a.txt")).status == 401


async def test_a_leased_file_changes_for_its_holder_alone(share):
    """Writing, cutting, moving or deleting a leased file takes the lease; anybody may read; a break
    ends it.
    """
    client = share.get_file_client("folder/a.txt")
    lease = ShareLeaseClient(client)
    await lease.acquire()
    assert (await client.get_file_properties()).lease.state == "leased"
    for refused in (
        client.upload_range(b"x", 0, 1),
        client.resize_file(3),
        client.delete_file(),
        client.set_file_metadata({"a": "b"}),
        client.rename_file("folder/b.txt"),
    ):
        with pytest.raises(HttpResponseError) as failure:
            await refused
        assert (failure.value.status_code, failure.value.error_code) == (412, "LeaseIdMissing")
    await client.upload_range(b"C", 0, 1, lease=lease)
    assert await (await client.download_file()).readall() == b"Content"
    with pytest.raises(HttpResponseError) as failure:
        await ShareLeaseClient(client).acquire()
    assert failure.value.error_code == "LeaseAlreadyPresent"
    await ShareLeaseClient(client).break_lease()
    await client.delete_file()


async def test_a_full_share_takes_nothing_more(azure, share):
    """A file that does not fit is refused before anything of it is there; room that was freed can
    be used again.
    """
    big = share.get_file_client("big")
    await big.create_file(GIB - 100)
    with pytest.raises(HttpResponseError) as failure:
        await share.get_file_client("folder/more").create_file(200)
    assert (failure.value.status_code, failure.value.error_code) == (403, "ShareSizeLimitReached")
    with pytest.raises(HttpResponseError) as failure:
        await big.resize_file(GIB + 1)
    assert failure.value.error_code == "ShareSizeLimitReached"
    assert not (azure.state / "files" / share.account_name / "signed" / "folder" / "more").exists()
    await big.resize_file(10)
    await share.get_file_client("folder/more").create_file(200)


async def test_a_name_is_found_in_any_case_and_keeps_its_own(share):
    """One spelling is one file: it is read, listed as it was made, and a second one does not appear
    beside it.
    """
    assert (
        await (await share.get_file_client("FOLDER/A.TXT").download_file()).readall() == b"content"
    )
    await share.get_file_client("Folder/A.txt").upload_file(b"replaced")
    assert [entry.name async for entry in share.list_directories_and_files("fOLDER")] == ["a.txt"]
    assert (
        await (await share.get_file_client("folder/a.txt").download_file()).readall() == b"replaced"
    )
    renamed = await share.get_file_client("folder/a.txt").rename_file("folder/A.TXT")
    assert [entry.name async for entry in share.list_directories_and_files("folder")] == ["A.TXT"]
    assert (await renamed.get_file_properties()).size == 8


async def test_content_comes_from_another_file(azure, share, share_service, holder):
    """A copy keeps metadata; a range comes from a URL; a source of another share needs the key or a
    signature.
    """
    source = share.get_file_client("folder/a.txt")
    await source.set_file_metadata({"k": "v"})
    other = share_service.get_share_client("other")
    await other.create_share(quota=1)
    copied = other.get_file_client("copy.txt")
    assert (await copied.start_copy_from_url(source.url))["copy_status"] == "success"
    assert (await copied.get_file_properties()).metadata == {"k": "v"}
    sas = generate_file_sas(
        share.account_name,
        "signed",
        ["folder", "a.txt"],
        share.credential.account_key,
        FileSasPermissions(read=True),
        soon(),
    )
    ranged = other.get_file_client("range.txt")
    await ranged.create_file(7)
    await ranged.upload_range_from_url(f"{source.url}?{sas}", offset=0, length=4, source_offset=3)
    assert await (await ranged.download_file()).readall() == b"tent\0\0\0"
    async with holder(account_sas(share), "folder/b.txt") as client:
        with pytest.raises(HttpResponseError) as failure:
            await client.start_copy_from_url(source.url)
        assert failure.value.error_code == "CannotVerifyCopySource"
        assert (await client.start_copy_from_url(f"{source.url}?{sas}"))["copy_status"] == "success"
    with pytest.raises(HttpResponseError) as failure:
        await copied.start_copy_from_url("https://[::1/a")
    assert (failure.value.status_code, failure.value.error_code) == (400, "InvalidHeaderValue")


async def test_ranges_are_where_data_is(share):
    """A cleared range is no longer listed and reads as zeros; a range beyond the end is refused."""
    client = share.get_file_client("sparse")
    await client.create_file(64 * 1024)
    assert await client.get_ranges() == []
    await client.upload_range(os.urandom(16384), 16384, 16384)
    assert await client.get_ranges() == [{"start": 16384, "end": 32767}]
    await client.clear_range(16384, 8192)
    assert await client.get_ranges() == [{"start": 24576, "end": 32767}]
    with pytest.raises(HttpResponseError) as failure:
        await client.upload_range(b"x", 64 * 1024, 1)
    assert (failure.value.status_code, failure.value.error_code) == (416, "InvalidRange")
