"""The Azure Files data plane, driven by the unmodified azure-storage-file-share client."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.fileshare import ContentSettings
from azure.storage.fileshare.aio import ShareServiceClient


def code(failure) -> str:
    return failure.value.error_code


def on_disk(azure, share) -> Path:
    return azure.state / "files" / share.account_name / share.share_name


@pytest.fixture
async def share(share_service):
    client = share_service.get_share_client("phi")
    await client.create_share(quota=10, metadata={"owner": "moorage"})
    return client


async def test_a_share_is_one_thing_in_both_planes(azure, clients, share_service, share):
    """A share made over the data plane is seen by ARM with its quota and metadata, and the other
    way round.
    """
    seen = await clients.storage.file_shares.get("rg-files", share.account_name, "phi")
    assert (seen.share_quota, seen.metadata) == (10, {"owner": "moorage"})
    await clients.storage.file_shares.create(
        "rg-files", share.account_name, "from-arm", {"properties": {}}
    )
    assert [found.name async for found in share_service.list_shares(include_metadata=True)] == [
        "from-arm",
        "phi",
    ]
    assert (await share.get_share_properties()).quota == 10


async def test_share_refusals_carry_azures_codes(share_service, share):
    """Making a share twice, asking for a missing one or a forbidden name gives the
    documented code.
    """
    with pytest.raises(ResourceExistsError) as failure:
        await share.create_share()
    assert code(failure) == "ShareAlreadyExists"
    with pytest.raises(ResourceNotFoundError) as failure:
        await share_service.get_share_client("missing").get_share_properties()
    assert code(failure) == "ShareNotFound"
    with pytest.raises(HttpResponseError) as failure:
        await share_service.get_share_client("Bad--Name").create_share()
    assert code(failure) == "InvalidResourceName"


async def test_an_upload_is_a_plain_file_on_disk_and_comes_back(azure, share):
    """Content written in several ranges lies byte for byte in the share's directory and downloads
    the same.
    """
    content = os.urandom(9 * 1024 * 1024 + 17)
    await share.get_directory_client("models").create_directory()
    client = share.get_file_client("models/weights.bin")
    await client.upload_file(content, max_concurrency=4, validate_content=True)
    assert (on_disk(azure, share) / "models" / "weights.bin").read_bytes() == content
    assert await (await client.download_file(max_concurrency=4)).readall() == content
    assert (
        await (await client.download_file(offset=1000, length=50)).readall() == content[1000:1050]
    )


async def test_a_small_file_needs_one_request(azure, share):
    """The create request may bring the content along, so 2,000 small files need 2,000 requests."""
    client = share.get_file_client("one.json")
    await client.create_file(5, data=b"hello")
    assert (on_disk(azure, share) / "one.json").read_bytes() == b"hello"
    assert (await client.get_file_properties()).size == 5


async def test_a_torn_body_is_refused(share):
    """A Content-MD5 that does not match leaves nothing behind."""
    client = share.get_file_client("torn.bin")
    wrong = hashlib.md5(b"other").digest()
    with pytest.raises(HttpResponseError) as failure:
        await client.create_file(
            5,
            data=b"hello",
            headers={"Content-MD5": __import__("base64").b64encode(wrong).decode()},
        )
    assert code(failure) == "Md5Mismatch"
    assert not await client.exists()


async def test_missing_parents_and_wrong_types_are_refused(share):
    """A file below nothing is ParentNotFound, a missing one ResourceNotFound, a directory where a
    file should be a mismatch.
    """
    with pytest.raises(ResourceNotFoundError) as failure:
        await share.get_file_client("no/such/file").create_file(1)
    assert code(failure) == "ParentNotFound"
    with pytest.raises(ResourceNotFoundError) as failure:
        await share.get_file_client("none").download_file()
    assert code(failure) == "ResourceNotFound"
    await share.get_directory_client("here").create_directory()
    with pytest.raises(ResourceExistsError) as failure:
        await share.get_file_client("here").create_file(1)
    assert code(failure) == "ResourceTypeMismatch"
    with pytest.raises(ResourceExistsError) as failure:
        await share.get_directory_client("here").create_directory()
    assert code(failure) == "ResourceAlreadyExists"
    await share.get_file_client("here/file").create_file(0)
    with pytest.raises(ResourceExistsError) as failure:
        await share.get_directory_client("here").delete_directory()
    assert code(failure) == "DirectoryNotEmpty"


@pytest.mark.parametrize(
    "name", ["a:b", "a*b", "a?b", 'a"b', "a<b", "a|b", "con", "NUL", "lpt1", "tab\tname"]
)
async def test_names_that_smb_cannot_hold_are_refused(share, name):
    """What Windows could not read must not be written."""
    with pytest.raises(HttpResponseError) as failure:
        await share.get_file_client(name).create_file(0)
    assert code(failure) == "InvalidResourceName"


async def test_no_name_leads_out_of_the_share(azure, share, http):
    """Dots, encoded slashes and symbolic links on disk do not reach anything outside."""
    (on_disk(azure, share) / "link").symlink_to("/etc")
    for name in ("../../azure.db", "..%2f..%2fazure.db", "link/passwd"):
        with pytest.raises(HttpResponseError):
            await share.get_file_client(name).get_file_properties()
    with pytest.raises(HttpResponseError):
        await share.get_file_client("link").create_file(0)
    assert [entry["name"] async for entry in share.list_directories_and_files()] == []


async def test_rename_replaces_only_when_told(share):
    """A rename onto an existing file is 409 unless overwrite is asked for; metadata travels with
    the file.
    """
    draft, final = share.get_file_client("draft"), share.get_file_client("final")
    await draft.upload_file(b"new", metadata={"digest": "abc"})
    await final.upload_file(b"old")
    with pytest.raises(ResourceExistsError) as failure:
        await draft.rename_file("final")
    assert code(failure) == "ResourceAlreadyExists"
    await draft.rename_file("final", overwrite=True)
    assert await (await final.download_file()).readall() == b"new"
    assert (await final.get_file_properties()).metadata == {"digest": "abc"}
    assert not await draft.exists()
    with pytest.raises(ResourceNotFoundError):
        await draft.rename_file("other")


async def test_a_directory_is_renamed_with_all_it_holds(share):
    """Publishing a folder under a temporary name and renaming it keeps content and metadata."""
    folder = share.get_directory_client("tmp")
    await folder.create_directory(metadata={"kind": "adapter"})
    await share.get_file_client("tmp/a").upload_file(b"a", metadata={"n": "1"})
    renamed = await folder.rename_directory("done")
    assert (await renamed.get_directory_properties()).metadata == {"kind": "adapter"}
    assert (await share.get_file_client("done/a").get_file_properties()).metadata == {"n": "1"}
    assert not await folder.exists()


async def test_etag_and_time_change_with_the_content_also_on_disk(azure, share):
    """Who polls a file's ETag sees every change, whoever made it."""
    client = share.get_file_client("report.json")
    await client.upload_file(b"1111")
    seen = {(await client.get_file_properties()).etag}
    await client.upload_range(b"2", offset=0, length=1)
    seen.add((await client.get_file_properties()).etag)
    path = on_disk(azure, share) / "report.json"
    path.write_bytes(b"3333")
    seen.add((await client.get_file_properties()).etag)
    path.with_name("new").write_bytes(b"4444")
    path.with_name("new").replace(path)
    seen.add((await client.get_file_properties()).etag)
    await client.set_file_metadata({"a": "b"})
    seen.add((await client.get_file_properties()).etag)
    assert len(seen) == 5


async def test_listing_pages_by_name_with_what_was_asked_for(share):
    """Entries come in name order in pages, with timestamps, ETag and ids only when included."""
    for name in ("b", "a", "c", "d/"):
        if name.endswith("/"):
            await share.get_directory_client(name.rstrip("/")).create_directory()
        else:
            await share.get_file_client(name).upload_file(b"x" * 3)
    plain = [entry async for entry in share.list_directories_and_files()]
    assert {entry["name"]: (entry["is_directory"], entry.get("size")) for entry in plain} == {
        "a": (False, 3),
        "b": (False, 3),
        "c": (False, 3),
        "d": (True, None),
    }
    assert plain[0]["etag"] is None
    include = ["timestamps", "Etag", "Attributes", "PermissionKey"]
    pages = share.list_directories_and_files(
        include=include, include_extended_info=True, results_per_page=2
    ).by_page()
    sizes = []
    found = {}
    async for page in pages:
        entries = [entry async for entry in page]
        sizes.append(len(entries))
        found |= {entry["name"]: entry for entry in entries}
    assert sizes == [2, 2]
    assert found["a"]["etag"] == (await share.get_file_client("a").get_file_properties()).etag
    assert found["a"]["last_modified"] is not None
    assert found["a"]["file_id"]
    assert [e["name"] async for e in share.list_directories_and_files(name_starts_with="b")] == [
        "b"
    ]


async def test_properties_metadata_and_ranges(share):
    """Content headers, metadata, a cleared range and a copy behave as on Azure."""
    client = share.get_file_client("data.json")
    settings = ContentSettings(
        content_type="application/json", content_md5=bytearray(hashlib.md5(b"12345678").digest())
    )
    await client.upload_file(b"12345678", content_settings=settings, metadata={"a": "1"})
    shown = await client.get_file_properties()
    assert (shown.content_settings.content_type, shown.metadata) == ("application/json", {"a": "1"})
    assert bytes(shown.content_settings.content_md5) == hashlib.md5(b"12345678").digest()
    pages = share.get_file_client("pages.bin")
    await pages.upload_file(b"a" * 512 + b"b" * 512)
    await pages.clear_range(offset=0, length=512)
    assert await (await pages.download_file()).readall() == bytes(512) + b"b" * 512
    assert await pages.get_ranges() == [{"start": 0, "end": 1023}]
    await client.set_http_headers(ContentSettings(content_type="text/plain"))
    await client.resize_file(2)
    assert (
        (await client.get_file_properties()).size,
        (await client.get_file_properties()).metadata,
    ) == (2, {"a": "1"})
    target = share.get_file_client("copy.json")
    assert (await target.start_copy_from_url(client.url))["copy_status"] == "success"
    assert (await target.get_file_properties()).size == 2
    with pytest.raises(HttpResponseError) as failure:
        await client.upload_range(b"xx", offset=10, length=2)
    assert code(failure) == "InvalidRange"


async def test_one_holder_of_a_share_lease_at_a_time(share):
    """acquire, a second acquire refused, renew, change, break and release with the documented
    codes.
    """
    lease = await share.acquire_lease(lease_duration=30)
    with pytest.raises(ResourceExistsError) as failure:
        await share.acquire_lease(lease_duration=30)
    assert code(failure) == "LeaseAlreadyPresent"
    await lease.renew()
    with pytest.raises(HttpResponseError) as failure:
        await share.delete_share()
    assert code(failure) == "LeaseIdMissing"
    assert (await share.get_share_properties()).lease.state == "leased"
    assert await lease.break_lease(lease_break_period=0) == 0
    with pytest.raises(HttpResponseError) as failure:
        await lease.renew()
    assert code(failure) == "LeaseIsBrokenAndCannotBeRenewed"
    second = await share.acquire_lease(lease_duration=-1)
    with pytest.raises(HttpResponseError) as failure:
        await lease.release()
    assert code(failure) == "LeaseIdMismatchWithLeaseOperation"
    await second.release()
    await share.delete_share()


async def test_a_request_signed_with_another_key_is_refused(azure, share):
    """SharedKey is verified: a wrong key, and a key that was regenerated away, open nothing."""
    wrong = __import__("base64").b64encode(b"0" * 64).decode()
    url = f"{azure.endpoint}/{share.account_name}"
    async with ShareServiceClient(
        url, credential=wrong, connection_verify=azure.facts["caFile"], retry_total=0
    ) as other:
        with pytest.raises(ClientAuthenticationError) as failure:
            await other.get_share_client("phi").get_share_properties()
        assert code(failure) == "AuthenticationFailed"


async def test_regenerating_a_key_shuts_out_the_old_one(azure, clients, share):
    """The other key goes on working, which is how keys are rotated without a gap."""
    name = share.account_name
    keys = (await clients.storage.storage_accounts.list_keys("rg-files", name))["keys"]
    await clients.storage.storage_accounts.regenerate_key("rg-files", name, {"keyName": "key1"})
    with pytest.raises(ClientAuthenticationError):
        await share.get_share_properties()
    url, ca = f"{azure.endpoint}/{name}", azure.facts["caFile"]
    async with ShareServiceClient(
        url, credential=keys[1]["value"], connection_verify=ca, retry_total=0
    ) as other:
        assert (await other.get_share_client("phi").get_share_properties()).quota == 10


async def test_what_is_not_there_says_so(share):
    """Snapshots are not implemented: 501, never a wrong success."""
    with pytest.raises(HttpResponseError) as failure:
        await share.create_snapshot()
    assert (failure.value.status_code, code(failure)) == (501, "NotImplemented")


async def test_many_writers_at_once(azure, share):
    """Two hundred concurrent uploads all arrive whole."""
    await asyncio.gather(
        *(
            share.get_file_client(f"f{n}").create_file(100, data=bytes([n % 256]) * 100)
            for n in range(200)
        )
    )
    files = list(on_disk(azure, share).iterdir())
    assert len(files) == 200
    assert all(len(set(path.read_bytes())) == 1 and path.stat().st_size == 100 for path in files)


BELOW_A_FILE = {
    "create": lambda share: share.get_file_client("a.txt/b").create_file(3),
    "upload": lambda share: share.get_file_client("a.txt/b").upload_file(b"abc"),
    "read": lambda share: share.get_file_client("a.txt/b").download_file(),
    "properties": lambda share: share.get_file_client("a.txt/b").get_file_properties(),
    "metadata": lambda share: share.get_file_client("a.txt/b").set_file_metadata({"a": "b"}),
    "ranges": lambda share: share.get_file_client("a.txt/b").get_ranges(),
    "lease": lambda share: share.get_file_client("a.txt/b").acquire_lease(),
    "delete": lambda share: share.get_file_client("a.txt/b").delete_file(),
    "rename to": lambda share: share.get_file_client("c.txt").rename_file("a.txt/b"),
    "rename from": lambda share: share.get_file_client("a.txt/b").rename_file("d.txt"),
    "make directory": lambda share: share.get_directory_client("a.txt/b").create_directory(),
    "directory": lambda share: share.get_directory_client("a.txt/b").get_directory_properties(),
    "delete directory": lambda share: share.get_directory_client("a.txt/b").delete_directory(),
    "list": lambda share: _listed(share.get_directory_client("a.txt/b")),
}


async def _listed(directory):
    return [entry async for entry in directory.list_directories_and_files()]


@pytest.mark.parametrize("operation", BELOW_A_FILE)
async def test_nothing_lies_below_a_file(share, operation):
    """A path that leads through a file is a parent that does not exist, and never a 500."""
    for name in ("a.txt", "c.txt"):
        await share.get_file_client(name).upload_file(b"x")
    with pytest.raises(HttpResponseError) as failure:
        await BELOW_A_FILE[operation](share)
    assert failure.value.status_code in {404, 409}
    assert code(failure) in {"ParentNotFound", "ResourceNotFound"}
    assert await (await share.get_file_client("a.txt").download_file()).readall() == b"x"


@pytest.mark.parametrize("version", ["1999-01-01", "2099-01-01", "2025-13-01", "banana"])
async def test_an_unknown_version_is_refused(azure, share, http, version):
    """A service version that Azure never published is a bad header, before anything is done."""
    address = f"{azure.facts['armEndpoint']}/{share.account_name}/phi/a.txt"
    async with http.put(address, headers={"x-ms-version": version}) as answer:
        assert answer.status == 400
        assert answer.headers["x-ms-error-code"] == "InvalidHeaderValue"
        assert "x-ms-version" in await answer.text()
