"""What somebody sent against a secret: any bytes are an answer, never an error."""

import asyncio
import socket

import pytest

from reconciler.web.decisions import WriteToken
from reconciler.web.git_hook import GitHook
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.pages import Pages
from reconciler.web.server import WebServer
from reconciler.web.tokens import is_secret
from tests.web.worlds import TOKEN, World


@pytest.mark.parametrize(
    ("given", "secret", "fits"),
    [
        ("right", "right", True),
        ("é€", "é€", True),
        ("righ", "right", False),
        ("", "right", False),
        ("", "", False),
        ("any", "", False),
        ("\udcff", "right", False),
    ],
)
def test_only_the_secret_fits(given, secret, fits):
    """Nothing fits an empty secret, and bytes that are no text fit none."""
    assert is_secret(given, secret) is fits
    assert WriteToken(secret, "").fits(given) is fits


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("POST /git", b"X-Hub-Signature-256: \xff"),
        ("POST /git", b"X-Gitlab-Token: \xff"),
        ("GET /status", b"Authorization: Bearer \xff"),
        ("GET /status?token=%ff", b"Cookie: moorage=\xff"),
    ],
)
async def test_bytes_that_are_no_text_are_refused(line, header):
    """In every header that holds a token: 401, and no error in the log."""
    world = World()
    pages = Pages(world.store, world.look, world, WriteToken(TOKEN, ""))
    listening = socket.create_server(("127.0.0.1", 0))
    hook = GitHook("a secret", lambda: None)
    metrics = DaemonMetrics({})
    async with WebServer(listening, dict, metrics, lambda: True, pages, token="t", hook=hook):
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        head = f"{line} HTTP/1.1\r\nHost: elsewhere\r\nContent-Length: 0\r\n".encode()
        writer.write(head + header + b"\r\n\r\n")
        assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()
