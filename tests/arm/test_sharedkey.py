"""Signatures, compared with those of the SDK's own policy."""

import base64
from datetime import UTC, datetime

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.rest import HttpRequest
from azure.storage.fileshare._shared.authentication import SharedKeyCredentialPolicy

from reconciler.arm.sharedkey import SharedKey

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = base64.b64encode(b"k" * 64).decode()


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body"),
    [
        (
            "PUT",
            "/acct/share/a/b.txt",
            {},
            {"x-ms-type": "file", "x-ms-content-length": "3"},
            b"abc",
        ),
        (
            "PUT",
            "/share/a%20b/%C3%A9%40%23.txt",
            {"comp": "range"},
            {"x-ms-write": "update", "x-ms-range": "bytes=0-2"},
            b"abc",
        ),
        ("PUT", "/share/a", {"restype": "directory"}, {}, b""),
        ("DELETE", "/share/a", {}, {}, b""),
    ],
)
def test_a_signature_is_the_sdks(method, path, query, headers, body):
    """For every kind of request that goes around the SDK: same text to sign, same signature."""
    signed = SharedKey("acct", KEY).sign(method, path, query, headers, len(body), NOON)
    assert signed["x-ms-date"] == "Sun, 01 Mar 2026 12:00:00 GMT"
    request = HttpRequest(
        method,
        f"https://h{path}",
        params=query,
        headers={**signed, "Content-Length": str(len(body))},
    )
    del request.headers["Authorization"]
    SharedKeyCredentialPolicy("acct", KEY).on_request(
        PipelineRequest(request, PipelineContext(None))
    )
    assert request.headers["Authorization"] == signed["Authorization"]


def test_the_key_does_not_show():
    """Neither in repr nor in the error about a bad one."""
    assert KEY not in repr(SharedKey("acct", KEY))
    with pytest.raises(ValueError, match="base64") as refused:
        SharedKey("acct", "no key!")
    assert "no key!" not in str(refused.value)
