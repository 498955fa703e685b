"""Bytes that are no text, in every header and query parameter that the local Azure reads."""

import re
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.local_azure.bad_input_ground import (  # noqa: F401 - fixtures
    alive,
    azure,
    ground,
    request,
    wire,
)

CODE = Path(__file__).parents[2] / "infra/local_azure"
ARM = "{subscription}/resourceGroups/rg-bad"
LOGS = f"{ARM}/containerApps/phi/revisions/r/replicas/a/containers/c/logstream"
NEW_FILE = ("x-ms-type: file", "x-ms-content-length: 3")
# Method, path, query, headers, and the status of the request when nothing is wrong with it.
DOORS = [
    ("GET", ARM, "api-version=2025-04-01", (), 200),
    ("GET", LOGS, "follow=false", (), 404),
    ("POST", "/{tenant}/oauth2/v2.0/token", "", (), 400),
    ("PUT", "/stbad01/phi/one.txt", "", NEW_FILE, 201),
    ("PUT", "/stbad01/phi/one.txt", "comp=range", ("x-ms-write: clear", "Range: bytes=0-1"), 201),
    ("PUT", "/stbad01/phi/one.txt", "comp=properties", (), 200),
    ("PUT", "/stbad01/phi/one.txt", "comp=rename", ("x-ms-file-rename-source: {here}",), 200),
    ("GET", "/stbad01/phi/one.txt", "", (), 200),
    ("GET", "/stbad01/phi", "restype=directory&comp=list", (), 200),
    ("PUT", "/stbad01/phi", "restype=share&comp=metadata", (), 200),
]
# What a credential looks like: whole, in its last part, before it, and signed with a key.
CREDENTIALS = (
    "\xff",
    "Bearer \xff",
    "Bearer a.b.\xff",
    "Bearer \xff.b.c",
    "SharedKey stbad01:\xff",
)


def read_names():
    """The headers that the code names, and the query parameters that it looks up."""
    text = "".join(path.read_text() for path in CODE.rglob("*.py"))
    headers = {
        name.lower() for name in re.findall(r'"((?:x-ms|if)-[a-z0-9-]+)"', text, re.IGNORECASE)
    }
    headers -= {"x-ms-file-request-intent"}
    headers |= {"content-type", "content-md5", "range", "date", "user-agent", "accept"}
    queries = set(re.findall(r'(?:query|parameters)(?:\.get\(|\[)"([$\w-]+)"', text))
    assert len(headers) > 20
    assert len(queries) > 5
    return sorted({*headers, "x-ms-meta-note"}), sorted(queries)


@pytest.fixture
async def signed_in(clients):
    """The headers of a caller who may do everything, by plane."""
    headers = {}
    for plane, scope in (("arm", clients.azure.endpoint), ("files", "https://storage.azure.com")):
        token = (await clients.credential.get_token(f"{scope}/.default")).token
        headers[plane] = (f"Authorization: Bearer {token}", "x-ms-file-request-intent: backup")
    return headers


@pytest.mark.parametrize(("method", "path", "query", "rest", "plain"), DOORS)
async def test_bytes_that_are_no_text_are_answered(
    azure, ground, signed_in, method, path, query, rest, plain
):
    """Each is ignored or refused in a whole answer; none is an error of the local Azure."""
    names = {"subscription": azure.subscription, "tenant": azure.facts["tenantId"]}
    names["here"] = f"{azure.endpoint}/stbad01/phi/one.txt"
    caller = signed_in["files" if path.startswith("/stbad01") else "arm"]

    async def status(query, *headers):
        line = path.format(**names) + (f"?{query}" if query else "")
        sent = [each.format(**names) for each in (*headers, *rest, "Content-Length: 0")]
        host = azure.endpoint.removeprefix("https://")
        answer = await wire(azure, request(method, line, *sent, host=host))
        return int(answer.split(b" ", 2)[1]) if answer else 0

    assert await status(query, *caller) == plain
    headers, queries = read_names()
    now = f"x-ms-date: {formatdate(usegmt=True)}"
    cases = [(query, f"Authorization: {each}", now) for each in CREDENTIALS]
    cases += [(query, f"{name}: \xff", *caller) for name in headers]
    cases += [(f"{query}&{name}=%ff", *caller) for name in queries]
    cases += [(f"{query}&sig=%ff&{name}=%ff",) for name in queries]
    found = {case[:2]: await status(*case) for case in cases}
    assert not {case: said for case, said in found.items() if said in (0, 500)}
    assert await alive(azure)
