"""Log streams: lines as they come, whatever the pieces they arrive in."""

import pytest

from reconciler.arm import logs
from reconciler.engine.errors import WaitingForHuman

APP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.App/containerApps/phi"


async def collected(stream):
    return [line async for line in stream]


async def test_lines_come_whole(arm, scripted):
    """Windows line ends, very long lines and a last line without an end."""
    long = "x" * 300_000
    scripted.on("GET", "/stream", 200, f"first\r\n{long}\nlast")
    lines = await collected(
        logs.stream_logs(arm, f"{scripted.url}/stream", "t0ken", follow=False, tail=1000)
    )
    assert lines == ["first", long, "last"]
    assert scripted.asked[0][1] == "/stream?follow=false&output=text&tailLines=300"
    assert scripted.headers[0]["Authorization"] == "Bearer t0ken"


async def test_the_token_comes_from_the_app(arm, scripted):
    """One POST, with the casing that Azure uses."""
    scripted.on(
        "POST",
        f"{APP}/getAuthtoken",
        200,
        {"properties": {"token": "t0ken", "expires": "2026-11-22T00:00:00Z"}},
    )
    assert await logs.log_token(arm, "rg", "phi") == "t0ken"


async def test_a_refused_stream_is_an_error_of_the_loop(arm, scripted):
    """And never shows the token."""
    scripted.on(
        "GET",
        "/stream",
        401,
        {"error": {"code": "Unauthorized", "message": "Bearer t0kent0kent0kent0ken expired"}},
    )
    with pytest.raises(WaitingForHuman) as refused:
        await collected(
            logs.stream_logs(arm, f"{scripted.url}/stream", "t0kent0kent0kent0ken", follow=True)
        )
    assert "t0ken" not in str(refused.value)


async def test_where_system_events_come_from(arm):
    """Azure gives the whole URL; an older answer only the host."""
    whole = f"https://swedencentral.azurecontainerapps.dev{APP}/eventstream"
    assert logs.event_endpoint(arm, "rg", "phi", whole) == whole
    assert (
        logs.event_endpoint(arm, "rg", "phi", "https://swedencentral.azurecontainerapps.dev/x")
        == whole
    )
