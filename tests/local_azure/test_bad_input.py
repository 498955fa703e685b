"""Requests that no client should send: the vendor's error shape, nothing corrupted, and the process
lives with bounded memory.
"""

import asyncio

import aiohttp
import pytest

from tests.local_azure.bad_input_ground import (  # noqa: F401 - fixtures
    alive,
    azure,
    ground,
    memory,
    port,
    request,
    token,
    wire,
)

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
