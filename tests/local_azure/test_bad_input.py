"""Requests that no client should send: the vendor's error shape, nothing corrupted, and the process
lives with bounded memory.
"""

import asyncio
import http.client
import json
import resource
import ssl
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from infra.local_azure.providers import catalogue

ACCOUNT = {"location": "swedencentral", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
BYTES = st.text(max_size=12) | st.binary(max_size=12).map(lambda raw: raw.decode("latin-1"))


@pytest.fixture(scope="module")
def azure(make_azure):
    """A server whose connections may be silent for two seconds."""
    return make_azure("--operation-seconds", "0.01", "--idle-seconds", "2", "--rate-limits", "off")


@pytest.fixture
async def token(clients):
    return (await clients.credential.get_token(f"{clients.azure.endpoint}/.default")).token


@pytest.fixture
async def ground(clients):
    """A group with an environment, an account and a share."""
    group = clients.group("rg-bad")
    await clients.raw("PUT", group, {"location": "swedencentral"}, version="2025-04-01")
    if (await clients.raw("GET", f"{group}/providers/Microsoft.Storage/storageAccounts/stbad01"))[
        0
    ] == 404:
        await (
            await clients.storage.storage_accounts.begin_create("rg-bad", "stbad01", ACCOUNT)
        ).result()
        await clients.storage.file_shares.create("rg-bad", "stbad01", "phi", {"properties": {}})
        environment = {"location": "swedencentral", "properties": {}}
        await (
            await clients.apps.managed_environments.begin_create_or_update(
                "rg-bad", "cae", environment
            )
        ).result()
    return group


def port(azure):
    return int(azure.endpoint.rsplit(":", 1)[1])


async def wire(azure, data, *, read_s=10.0):
    """Send these bytes over a connection of their own; the answer until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(azure), ssl=azure.tls())
    try:
        writer.write(data)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), read_s)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


async def alive(azure):
    """It answers another request."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=azure.tls())) as http,
        http.get(f"{azure.endpoint}/metadata/endpoints?api-version=2022-09-01") as answer,
    ):
        return answer.status == 200


def request(method, path, *headers, body=b"", host="127.0.0.1"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


WIRE = [
    (b"hello\r\n\r\n", b"400", "no HTTP at all"),
    (b"GET / HTTP/9.9\r\n\r\n", b"400", "a version that there is not"),
    (request("GET", "/subscriptions", "X-Long: " + "x" * 20000), b"400", "a header of 20 kB"),
    (request("GET", "/subscriptions?" + "q" * 20000), b"400", "a query of 20 kB"),
    (
        request("GET", "/subscriptions", *(f"X-{i}: 1" for i in range(300))),
        b"400",
        "three hundred headers",
    ),
    (request("GET", "/subscriptions", "Bad Header"), b"400", "a header without a colon"),
    (request("PUT", "/subscriptions", "Content-Length: -5"), b"400", "a negative length"),
    (
        request(
            "PUT",
            "/subscriptions",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            body=b"0\r\n\r\n",
        ),
        b"400",
        "two lengths",
    ),
    (
        request("PUT", "/subscriptions", "Transfer-Encoding: chunked", body=b"zz\r\n"),
        b"400",
        "a chunk without a size",
    ),
    (request("GET", "/subscriptions/\xff\xfe"), b"400", "raw bytes in the path"),
    (request("GET", "no-slash"), b"400", "a path without its slash"),
    (request("BREW", "/subscriptions?api-version=2022-12-01"), b"400", "a verb that there is not"),
    (
        request("PROPFIND", "/subscriptions?api-version=2022-12-01"),
        b"401",
        "a verb of others, not even signed in",
    ),
    (request("GET", "/%00/%2e%2e/%2fetc"), b"404", "an encoded nothing where an account should be"),
]


@pytest.mark.parametrize(("data", "status", "reason"), WIRE, ids=[case[-1] for case in WIRE])
async def test_what_is_hardly_http(azure, data, status, reason):
    """Refused with a whole answer, and the next request is served."""
    answer = await wire(azure, data)
    assert answer.split(b" ", 2)[1] == status, answer
    assert await alive(azure)


HALVES = [
    (b"GET /subscr", "headers"),
    (
        (
            b"PUT /subscriptions?api-version=2022-12-01 HTTP/1.1\r\nHost: x\r\nContent-Length:"
            b" 100\r\n\r\n{"
        ),
        "a body for ARM",
    ),
    (
        b"PUT /stbad01/phi/f?comp=range HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        "a body for Files",
    ),
    (
        b"POST /common/oauth2/v2.0/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant",
        "a body for the login",
    ),
]


@pytest.mark.parametrize(("half", "reason"), HALVES, ids=[case[-1] for case in HALVES])
async def test_half_a_request_is_cut_off(azure, half, reason):
    """What never ends holds a connection no longer than its silence is allowed."""
    await wire(azure, half, read_s=60)
    assert await alive(azure)


async def test_a_body_beyond_the_limit_is_413_and_not_kept(azure, token):
    """ARM takes 4 MB, told or in chunks, and says so in its own words."""
    url = f"{azure.endpoint}{azure.subscription}/resourceGroups/rg-large?api-version=2025-04-01"

    async def pieces():
        for _ in range(6):
            yield b" " * 1024 * 1024

    before = memory(azure)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=azure.tls())) as http:
        for body in (b" " * (4 * 1024 * 1024 + 1), pieces()):
            try:
                async with http.put(
                    url, data=body, headers={"Authorization": f"Bearer {token}"}
                ) as answer:
                    assert (answer.status, (await answer.json())["error"]["code"]) == (
                        413,
                        "RequestContentTooLarge",
                    )
            except aiohttp.ClientConnectionError:
                pass  # closed while we were still sending: the refusal came first
    assert memory(azure) - before < 64 * 1024 * 1024
    assert await alive(azure)


def memory(azure):
    """Resident bytes of the server."""
    pid = azure.command("status")["pid"]
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


BODIES = [
    (b"{", "no JSON"),
    (b'{"location": "eastus"', "JSON cut off"),
    (b"\xff\xfe\x00", "no text"),
    (b"[" * 100_000, "too deep"),
    (b'{"location": NaN}', "no number"),
    (b'{"location": "eastus", "tags": {"a": "\\ud800"}}', "half a character"),
    (b'{"location": "eastus", "properties": []}', "a list where an object belongs"),
    (b'{"location": {}, "properties": {}}', "an object where text belongs"),
    (
        b'{"location": "eastus", "properties": {"template": {"containers": [null]}}}',
        "a container that is none",
    ),
    (
        b'{"location": "eastus", "properties": {"template": {"scale": {"maxReplicas": 1e300}}}}',
        "a number beyond all bounds",
    ),
]


@pytest.mark.parametrize(("body", "reason"), BODIES, ids=[case[-1] for case in BODIES])
async def test_a_malformed_body_is_arms_400(azure, ground, token, body, reason):
    """InvalidRequestContent, and there is no such app afterwards."""
    url = (
        f"{azure.endpoint}{ground}/providers/Microsoft.App/containerApps/bad?api-version=2026-01-01"
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=azure.tls())) as http:
        async with http.put(url, data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (
                400,
                "InvalidRequestContent",
            )
        async with http.get(url, headers=headers) as answer:
            assert answer.status == 404


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


ARM_PARTS = st.sampled_from(
    [
        "subscriptions",
        "resourceGroups",
        "providers",
        "Microsoft.App",
        "containerApps",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "",
        "locks",
        "listKeys",
        "Microsoft.Storage",
    ]
) | st.text("abc%/ ", max_size=6).map(lambda text: text.replace(" ", "%20").replace("/", "%2F"))
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
    before = sorted(
        path.relative_to(azure.state)
        for path in azure.state.rglob("*")
        if "stbad01" not in path.parts
    )
    with closing(client):
        run()
    after = sorted(
        path.relative_to(azure.state)
        for path in azure.state.rglob("*")
        if "stbad01" not in path.parts
    )
    assert after == before


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


async def test_login_survives_what_is_no_form(azure):
    """AADSTS errors for whatever is posted."""
    tenant = azure.facts["tenantId"]
    for body in (
        b"",
        b"\xff\xfe=\x00",
        b"a=b&" * 1000,
        b"grant_type=client_credentials&client_id=%ff",
        b"{}" * 10,
    ):
        answer = await wire(
            azure,
            request(
                "POST", f"/{tenant}/oauth2/v2.0/token", f"Content-Length: {len(body)}", body=body
            ),
        )
        assert b"AADSTS" in answer, answer
    large = request(
        "POST", f"/{tenant}/oauth2/v2.0/token", "Content-Length: 300000", body=b"x" * 300_000
    )
    assert b" 413 " in await wire(azure, large)
    assert await alive(azure)


async def test_thousands_of_connections(azure):
    """Far more silent connections than it keeps: they are dropped, memory stays, and soon whoever
    asks something is answered.
    """
    before = memory(azure)
    writers = []
    for _ in range(25):
        opened = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", port(azure)) for _ in range(100))
        )
        writers += [writer for _, writer in opened]  # TCP alone: not even a TLS hello
    assert memory(azure) - before < 450 * 1024 * 1024
    async with asyncio.timeout(60):
        while True:
            try:
                assert await alive(azure)
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)  # full until the silent ones are cut off
    for writer in writers:
        writer.close()
