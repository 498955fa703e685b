"""The chat page in a real Chromium, in every state a service can be in. The service is a server
that counts what it is asked.
"""

import asyncio
import json
import socket

import aiohttp
import pytest
from aiohttp import web

from reconciler.chat.endpoint import Endpoint, EndpointError
from reconciler.chat.state import WORDS, State, StateKind
from tests.browser import PROGRAM, browser

needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium on this machine (apt install chromium)"
)
MODELS = {"data": [{"id": "tuned", "parent": "base"}, {"id": "base", "parent": None}]}


class Served:
    """An OpenAI API of two models; `asked` are the paths and keys of all requests, `broken` what it
    answers with instead.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.bodies: list[dict] = []
        self.broken: tuple[int, str] | None = None
        self.words = ["one", " two", " three"]

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.complete)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_):
        await self.session.close()
        await self.runner.cleanup()

    @property
    def endpoint(self):
        return Endpoint(self.session, self.url, "secret")

    async def models(self, request):
        self.asked.append((request.path, request.headers.get("Authorization")))
        return web.json_response(MODELS)

    async def complete(self, request):
        self.asked.append((request.path, request.headers.get("Authorization")))
        self.bodies.append(await request.json())
        if self.broken:
            return web.Response(status=self.broken[0], text=self.broken[1])
        answer = web.StreamResponse()
        await answer.prepare(request)
        for word in self.words:
            await answer.write(
                b"data: "
                + json.dumps({"choices": [{"delta": {"content": word}}]}).encode()
                + b"\n\n"
            )
        await answer.write(
            b'data: {"choices": [], "usage": {"completion_tokens": 7}}\n\ndata: [DONE]\n\n'
        )
        return answer


async def test_an_answer_grows_and_tells_its_pace():
    """Every piece is one more of the text; the last has the service's own count of tokens."""
    async with Served() as served:
        answers = [
            each
            async for each in served.endpoint.stream(
                "tuned", [{"role": "user", "content": "?"}], temperature=0.5
            )
        ]
        assert await served.endpoint.models() == ["base", "tuned"]
    assert [each.text for each in answers] == ["one", "one two", "one two three", "one two three"]
    assert (answers[-1].tokens, answers[-1].done) == (7, True)
    assert answers[0].first is not None
    assert answers[-1].pace > 0
    assert served.bodies[0]["temperature"] == 0.5
    assert {key for _, key in served.asked} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("broken", "says", "reason"),
    [
        (
            (401, '{"error": "Unauthorized"}'),
            "the service answered 401: Unauthorized",
            "the key was taken away",
        ),
        ((400, '{"error": {"message": "too long"}}'), "answered 400: too long", "vLLM's own words"),
        ((503, "upstream"), "answered 503: upstream", "the ingress, without JSON"),
    ],
)
async def test_a_refusal_is_a_sentence(broken, says, reason):
    """What went wrong reaches the person, the key does not."""
    async with Served() as served:
        served.broken = broken
        with pytest.raises(EndpointError, match=says) as raised:
            [each async for each in served.endpoint.stream("base", [])]
    assert "secret" not in str(raised.value)


async def test_a_service_that_is_away_is_a_sentence():
    """Nobody listens."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(EndpointError, match="cannot be reached"):
            await Endpoint(session, "http://127.0.0.1:9", "secret").models()


@needs_chromium
async def test_a_visit_in_every_state(tmp_path):
    """Asleep: nothing is asked until a person wakes it. Then it starts, is ready, fails in the
    middle of a talk, and goes.
    """
    from reconciler.chat import page as pages
    from reconciler.chat.server import serve

    state = State(StateKind.ASLEEP, WORDS[StateKind.ASLEEP])

    async def look():
        return state

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with Served() as served:
        server = asyncio.create_task(
            serve(pages.Page("phi", "local Azure", served.endpoint, look), listening)
        )
        async with browser(url) as tab:
            assert "billed while it runs" in await tab.sees("Asleep", seconds=90)
            await asyncio.sleep(2 * pages.EVERY)
            assert served.asked == []
            assert await tab.text("#ask textarea") == ""
            await tab.click("#wake")
            await tab.sees("a replica is being started")
            await asyncio.sleep(pages.EVERY)
            assert len(served.asked) == 1
            state = State(StateKind.STARTING, WORDS[StateKind.STARTING])
            await tab.sees("it loads the model")
            state = State(StateKind.READY, "ready")
            await tab.sees("Send")
            await tab.sees("tuned", "#model input")
            await tab.type("#system textarea", "Be brief.")
            await tab.type("#ask textarea", "Hello?", enter=True)
            await tab.sees("one two three", "#talk")
            await tab.sees("7 tokens", "#pace")
            served.broken = (503, "no replica")
            await tab.type("#ask textarea", "And now?", enter=True)
            await tab.sees("The service answered 503: no replica", "#pace")
            state = State(StateKind.DOWN, "Revision phi--r1 does not run: the container crashes")
            await tab.sees("the container crashes")
            await tab.sees("Not running")
            assert await tab.text("#talk") == ""
            assert not [
                each
                for each in tab.requests
                if each.startswith(("http", "ws")) and url.partition("//")[2] not in each
            ]
        roles = [message["role"] for message in served.bodies[-1]["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
        async with served.session.get(url, headers={"Host": "elsewhere.example"}) as answer:
            assert answer.status == 400
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
