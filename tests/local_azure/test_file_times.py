"""The creation time of files and directories on the files plane, driven by the unmodified client."""

import asyncio

import pytest
from azure.core.exceptions import HttpResponseError


@pytest.fixture
async def share(share_service):
    client = share_service.get_share_client("phi")
    await client.create_share(quota=10)
    return client


async def test_a_creation_time_stays(share):
    """Whatever is written to a file or a directory afterwards, and by whatever listing one asks; a
    file that is created again has a new one.
    """
    folder = share.get_directory_client("folder")
    await folder.create_directory()
    file = folder.get_file_client("a.txt")
    await file.create_file(10)
    first = (await file.get_file_properties()).creation_time
    born = (await folder.get_directory_properties()).creation_time
    await asyncio.sleep(0.01)
    await file.upload_range(b"0123456789", 0, 10)
    await file.set_file_metadata({"owner": "me"})
    await file.resize_file(5)
    await folder.set_directory_metadata({"owner": "me"})
    seen = await file.get_file_properties()
    assert (seen.creation_time, seen.last_write_time > first) == (first, True)
    assert (await folder.get_directory_properties()).creation_time == born
    listed = [each async for each in folder.list_directories_and_files(include=["timestamps"])]
    assert [each.creation_time[:26] for each in listed] == [first.isoformat()[:26]]
    await file.create_file(3)
    assert (await file.get_file_properties()).creation_time > first


async def test_a_creation_time_is_a_time(share):
    """What is given is shown again, and what is none is refused."""
    given = "2020-02-03T04:05:06.1234567Z"
    file = await share.get_directory_client("").upload_file("a.txt", b"x", file_creation_time=given)
    seen = (await file.get_file_properties()).creation_time
    assert seen.isoformat() == "2020-02-03T04:05:06.123456+00:00"
    with pytest.raises(HttpResponseError) as failure:
        await file.create_file(1, file_creation_time="yesterday")
    assert failure.value.error_code == "InvalidHeaderValue"
