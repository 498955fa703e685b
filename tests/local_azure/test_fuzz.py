"""Random requests of every plane: the answer has the plane's shape and the server lives."""

import asyncio
import http.client
import json
from contextlib import closing
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from infra.local_azure.providers import catalogue
from tests.local_azure.bad_input_ground import alive, azure, ground, port, token  # noqa: F401 - fixtures

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)


JSON = st.recursive(
    SCALARS,
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=6), each, max_size=3)
    ),
    max_leaves=8,
)


def near(shape):
    """Bodies that look like what a type takes, with something wrong here and there."""
    if isinstance(shape, dict):
        known = st.fixed_dictionaries(
            {}, optional={name: near(each) for name, each in shape.items() if name != "*"}
        )
        return known | JSON
    if isinstance(shape, list):
        return st.lists(near(shape[0]), max_size=2) | JSON
    words = st.sampled_from(
        ["swedencentral", "Single", "gpu", "0.5", "1Gi", "http", "name", "-1", "x" * 300]
    )
    return words | st.integers(-2, 300) | JSON


SHAPES = {route: shape for kind in catalogue.TYPES for route, shape in kind.shapes.items()}


PATHS = {
    "microsoft.app/containerapps/{}": "Microsoft.App/containerApps/fuzz",
    "microsoft.app/jobs/{}": "Microsoft.App/jobs/fuzz",
    "microsoft.app/managedenvironments/{}": "Microsoft.App/managedEnvironments/cae-fuzz",
    "microsoft.app/managedenvironments/{}/storages/{}": (
        "Microsoft.App/managedEnvironments/cae/storages/fuzz"
    ),
    "microsoft.operationalinsights/workspaces/{}": (
        "Microsoft.OperationalInsights/workspaces/law-fuzz"
    ),
    "microsoft.storage/storageaccounts/{}": "Microsoft.Storage/storageAccounts/stfuzz01",
    "microsoft.storage/storageaccounts/{}/fileservices/{}/shares/{}": (
        "Microsoft.Storage/storageAccounts/stbad01/fileServices/default/shares/fuzz"
    ),
    "microsoft.authorization/locks/{}": "Microsoft.Authorization/locks/fuzz",
}


def fuzz_arm(azure, ground, token, examples):
    """Bodies of every type; whatever comes is an answer with ARM's shape, and never a failure of
    the server.
    """

    @seed(20261125)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.sampled_from(sorted(PATHS)).flatmap(
            lambda route: st.tuples(st.just(route), near(SHAPES[route]))
        ),
        st.sampled_from(["PUT", "PATCH"]),
    )
    def run(drawn, method):
        route, body = drawn
        if route.endswith("locks/{}") and isinstance(body, dict):
            body = {
                **body,
                "properties": {
                    **(body.get("properties") if isinstance(body.get("properties"), dict) else {}),
                    "level": "x",
                },
            }
        if (
            isinstance(body, dict)
            and isinstance(body.get("properties"), dict)
            and "environmentId" in body["properties"]
        ):
            body["properties"]["environmentId"] = (
                f"{ground}/providers/Microsoft.App/managedEnvironments/cae"
            )
        status, text = client.send(
            method,
            f"{ground}/providers/{PATHS[route]}?api-version=2026-01-01",
            json.dumps(body).encode(),
        )
        assert status < 500 or status == 501, (method, route, body, text)
        if status >= 400:
            error = json.loads(text)["error"]
            assert error["code"]
            assert error["message"]

    client = Plain(azure, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    with closing(client):
        run()


class Plain:
    """A blocking HTTPS client that sends what it is given."""

    def __init__(self, azure, headers):
        self._headers = headers
        self._connection = http.client.HTTPSConnection(
            "127.0.0.1", port(azure), context=azure.tls(), timeout=60
        )

    def send(self, method, path, body=b"", **headers):
        """A connection that was idle too long may be closed by now, so that is tried once more; a
        fresh one must answer.
        """
        try:
            return self._sent(method, path, body, headers)
        except http.client.RemoteDisconnected:
            self._connection.close()
            return self._sent(method, path, body, headers)

    def _sent(self, method, path, body, headers):
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**self._headers, "Content-Length": str(len(body)), **headers}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(body)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self):
        self._connection.close()


async def test_arm_survives_random_bodies(azure, ground, token):
    """A slice of the long run below."""
    await asyncio.to_thread(fuzz_arm, azure, ground, token, 150)
    assert await alive(azure)
    assert "Traceback" not in azure.log()


@pytest.mark.slow
async def test_arm_survives_very_many_random_bodies(azure, ground, token):
    """The same, for long."""
    await asyncio.to_thread(fuzz_arm, azure, ground, token, 2000)
    assert "Traceback" not in azure.log()


SHARE_PARTS = st.sampled_from(
    [
        "phi",
        "a",
        "..",
        "%2e%2e%2f%2e%2e",
        "a%2f..%2f..%2fb",
        "%00",
        "%ff%fe",
        "con",
        "a:b",
        "%5c..%5c",
        "",
        "f.bin",
        "x" * 300,
    ]
)


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "x-ms-type": st.sampled_from(["file", "x"]),
        "x-ms-content-length": st.sampled_from(["0", "4", "-1", "\u00b2", "9" * 30, "x"]),
        "x-ms-range": st.sampled_from(
            [
                "bytes=0-3",
                "bytes=3-0",
                "bytes=-1",
                "bytes=0-99999999999999999999",
                "x",
                "bytes=9-12",
            ]
        ),
        "x-ms-write": st.sampled_from(["update", "clear", "x"]),
        "x-ms-file-rename-source": st.sampled_from(
            ["x", "/etc/passwd", "https://h/stbad01/phi/../../x", "https://[::1/a"]
        ),
        "x-ms-copy-source": st.sampled_from(
            ["x", "https://h/stbad01/phi/%2e%2e/%2e%2e/x", "file:///etc/passwd"]
        ),
        "x-ms-lease-action": st.sampled_from(["acquire", "x"]),
        "x-ms-lease-duration": st.sampled_from(["-2", "60", "x"]),
        "x-ms-file-attributes": st.sampled_from(["x", "None"]),
        "x-ms-file-creation-time": st.sampled_from(["now", "yesterday", "0001-01-01T00:00:00Z"]),
        "Content-MD5": st.sampled_from(["x", "====="]),
    },
)


def fuzz_files(azure, bearer, examples):
    """Paths, queries and headers of the data plane; every refusal is XML with its code, and nothing
    is written beside the share.
    """

    @seed(20261125)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST", "OPTIONS"]),
        st.lists(SHARE_PARTS, max_size=4),
        st.sampled_from(["", "share", "directory", "service", "x"]),
        st.sampled_from(
            [
                "",
                "range",
                "list",
                "metadata",
                "properties",
                "rename",
                "lease",
                "acl",
                "rangelist",
                "stats",
                "x",
                "%ff",
            ]
        ),
        HEADERS,
        st.sampled_from(
            [
                b"",
                b"data",
                b"<a",
                b'<?xml version="1.0"?><SignedIdentifiers><SignedIdentifier/></SignedIdentifiers>',
            ]
        ),
    )
    def run(method, parts, restype, comp, headers, body):
        if method == "DELETE" and restype == "share":
            return
        path = (
            "/stbad01/phi/"
            + "/".join(parts)
            + f"?restype={restype}&comp={comp}&marker=%ff&maxresults=x"
        )
        encoded = {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()}
        try:
            status, text = client.send(method, path, body, **encoded)
        except UnicodeEncodeError:
            return
        assert status < 500 or status == 501, (method, path, headers, body, text)
        if status >= 400 and text and not text.startswith(b"<!DOCTYPE"):
            assert ET.fromstring(text.decode("utf-8-sig")).find("Code").text

    bearer = {
        "Authorization": f"Bearer {bearer}",
        "x-ms-version": "2025-05-05",
        "x-ms-file-request-intent": "backup",
    }
    client = Plain(azure, bearer)
    before = _files_beside_the_account(azure)
    with closing(client):
        run()
    assert _files_beside_the_account(azure) == before


@pytest.fixture
async def storage_token(clients, ground):
    return (await clients.credential.get_token("https://storage.azure.com/.default")).token


async def test_files_survive_random_requests(azure, storage_token):
    """A slice of the long run below."""
    await asyncio.to_thread(fuzz_files, azure, storage_token, 300)
    assert await alive(azure)
    assert "Traceback" not in azure.log()


@pytest.mark.slow
async def test_files_survive_very_many_random_requests(azure, storage_token):
    """The same, for long."""
    await asyncio.to_thread(fuzz_files, azure, storage_token, 5000)
    assert "Traceback" not in azure.log()


def _files_beside_the_account(azure):
    """What the state folder holds, without the account that the test writes to and the ingress,
    which may still be starting.
    """
    return sorted(
        path.relative_to(azure.state)
        for path in azure.state.rglob("*")
        if "stbad01" not in path.parts and not path.name.startswith("ingress")
    )
