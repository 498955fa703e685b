"""Whatever is sent to a gateway is answered in OpenAI's shape; nothing makes it fail."""

import asyncio
import json

import aiohttp
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.gateway.passage import Patience
from tests.serving.gateway.conftest import ENVIRONMENT_KEY, Gateway, route
from tests.serving.gateway.stand_in import StandIn, served

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["model", "stream", "background", "messages", "input", "n", "max_tokens", "stop", "tools"]
)
BODIES = st.dictionaries(FIELDS, VALUES | st.sampled_from(["phi", "phi/support", True]))
WORDS = st.characters(min_codepoint=32, max_codepoint=0xFF, exclude_categories=["Cc"])
PATHS = st.sampled_from(
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/phi",
        "/v1/responses/resp_" + "0" * 32,
        "/openai/deployments/phi/chat/completions",
        "/tokenize",
        "/v1/models/%2e%2e/x",
        "/metrics",
        "/",
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "x-request-id",
            "x-scale-up-timeout",
            "x-moorage-sticky",
            "x-moorage-key-name",
            "x-moorage-key-limits",
            "traceparent",
            "content-encoding",
            "origin",
            "api-key",
        ]
    ),
    st.text(WORDS, max_size=30).map(str.strip),
    max_size=3,
)


@settings(max_examples=12, deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.sampled_from(["POST", "GET", "DELETE"]), PATHS, HEADERS, BODIES),
        min_size=1,
        max_size=25,
    ),
    raw=st.binary(max_size=60),
)
def test_every_request_is_answered_in_openais_shape(requests, raw, tmp_path_factory):
    """Any field of any type, any header, any path: an answer or an error, never a fault."""
    asyncio.run(_send(requests, raw, tmp_path_factory.mktemp("fuzz")))


async def _send(requests, raw, folder):
    phi = StandIn()
    gateway = Gateway(folder, Patience())
    async with served(phi.handle) as upstream:
        gateway.publish(route("phi", upstream))
        await gateway.world.start()
        try:
            async with (
                served(gateway.front.handle, auto_decompress=False) as url,
                aiohttp.ClientSession(url) as session,
            ):
                for method, path, headers, body in requests:
                    await _check(session, method, path, headers, json.dumps(body).encode())
                await _check(session, "POST", "/v1/chat/completions", {}, raw)
        finally:
            await gateway.background.close()
            await gateway.world.close()


async def _check(session, method, path, headers, data):
    headers = {"authorization": f"Bearer {ENVIRONMENT_KEY}"} | {
        name: value.encode("latin-1").decode("latin-1") for name, value in headers.items()
    }
    async with session.request(method, path, headers=headers, data=data) as answer:
        text = await answer.text()
    assert answer.status != 500, text
    if answer.status >= 400:
        error = json.loads(text)["error"]
        assert error["message"]
        assert error["type"]
