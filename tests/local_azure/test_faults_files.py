"""Scripted faults of the Files data plane and of login."""

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.storage.fileshare.aio import ShareServiceClient

from tests.local_azure.fault_scripts import (
    faults,
    none_left,  # noqa: F401 - fixtures
    script,
)


@pytest.fixture
async def share(azure, share_service):
    share = share_service.get_share_client("phi")
    await share.create_share()
    return share


FILES = [
    ({"fault": "Throttle"}, 503, "ServerBusy", "storage throttles with 503"),
    ({"fault": "Error", "status": 500}, 500, "InternalError", "a 500 of the data plane"),
    ({"fault": "Conflict"}, 409, "SharingViolation", "an SMB client holds the file"),
    ({"fault": "Forbidden"}, 403, "AuthorizationPermissionMismatch", "the data role is missing"),
    ({"fault": "ShareFull"}, 403, "ShareSizeLimitReached", "no room left"),
]


@pytest.mark.parametrize(
    ("fault", "status", "code", "reason"), FILES, ids=[case[-1] for case in FILES]
)
async def test_a_files_refusal_has_the_data_planes_shape(
    azure, share, tmp_path, fault, status, code, reason
):
    """An XML error with its code; nothing is written, and the next attempt works."""
    script(azure, tmp_path, {**fault, "operation": "CreateFile", "name": "a.bin", "times": 1})
    with pytest.raises(HttpResponseError) as refused:
        await share.get_file_client("a.bin").create_file(4, data=b"data")
    assert (refused.value.status_code, refused.value.response.headers["x-ms-error-code"]) == (
        status,
        code,
    )
    assert [entry["name"] async for entry in share.list_directories_and_files()] == []
    await share.get_file_client("a.bin").create_file(4, data=b"data")


async def test_a_share_out_of_reach(azure, share, tmp_path):
    """Every request to it is cut off, until the script is cleared."""
    script(azure, tmp_path, {"fault": "ShareUnreachable", "name": "*/phi*"})
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await share.get_file_client("b.bin").create_file(4, data=b"data")
    faults(azure, "clear")
    await share.get_file_client("b.bin").create_file(4, data=b"data")


async def test_torn_and_stale_reads(azure, share, tmp_path):
    """A file's second half is zeros, and a new file is missing from the listing; then both are as
    they are.
    """
    await share.get_file_client("c.bin").upload_file(b"abcdefgh")
    script(
        azure,
        tmp_path,
        {"fault": "TornRead", "name": "c.bin", "times": 1},
        {"fault": "StaleList", "seconds": 60, "times": 1},
    )
    assert await (await share.get_file_client("c.bin").download_file()).readall() == b"abcd\0\0\0\0"
    assert [entry["name"] async for entry in share.list_directories_and_files()] == []
    assert await (await share.get_file_client("c.bin").download_file()).readall() == b"abcdefgh"
    assert [entry["name"] async for entry in share.list_directories_and_files()] == ["c.bin"]


async def test_a_rotated_key_is_refused_at_the_next_request(azure, clients, make_account, tmp_path):
    """The key that worked a moment ago does not any more; the account lists the new one."""
    account, key = await make_account("rg-rotate", "strotate01")
    settings = {"connection_verify": azure.facts["caFile"], "retry_total": 0}
    async with ShareServiceClient(
        f"{azure.endpoint}/{account}", credential=key, **settings
    ) as service:
        await service.create_share("phi")
        script(azure, tmp_path, {"fault": "RotateKey", "name": account, "times": 1})
        with pytest.raises(HttpResponseError) as refused:
            await service.create_share("two")
    assert refused.value.status_code == 403
    assert (await clients.storage.storage_accounts.list_keys("rg-rotate", account))["keys"][0][
        "value"
    ] != key


async def test_no_token_is_given(azure, http, tmp_path):
    """Login is throttled and fails with AADSTS bodies."""
    script(
        azure,
        tmp_path,
        {"fault": "Throttle", "plane": "login", "retryAfter": 1, "times": 1},
        {"fault": "Error", "plane": "login", "status": 503},
    )
    url = f"/{azure.facts['tenantId']}/oauth2/v2.0/token"
    for status, code in ((429, 90055), (503, 90033)):
        async with http.post(url, data={"grant_type": "client_credentials"}) as answer:
            assert (answer.status, (await answer.json())["error_codes"]) == (status, [code])
