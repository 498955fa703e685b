"""The chat page in a real Chromium, in every state a service can be in. The service is a server
that counts what it is asked.
"""

import asyncio
import json
import socket
import time

import aiohttp
import pytest
from aiohttp import web

from reconciler.chat.endpoint import Endpoint, EndpointError, ServedModel
from reconciler.chat.state import WORDS, State, StateKind
from reconciler.chat.talk import kept, plain, signed, unanswered
from reconciler.chat.versions import CANARY, PRESENT, asked, choices, position
from serving.request.traffic import position as replica_position
from tests.browser import PROGRAM, browser

needs_chromium = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium on this machine (apt install chromium)"
)
MODELS = {
    "data": [
        {"id": "tuned", "parent": "base", "max_model_len": 512},
        {"id": "base", "parent": None, "max_model_len": 512},
    ]
}


class Served:
    """An OpenAI API of two models; `asked` are the paths and keys of all requests, `broken` what it
    answers with instead.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.bodies: list[dict] = []
        self.broken: tuple[int, str] | None = None
        self.listed: dict = MODELS
        self.words = ["one", " two", " three"]
        self.go_on = asyncio.Event()  # what an answer waits for before its last word
        self.go_on.set()

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
        return web.json_response(self.listed)

    async def complete(self, request):
        self.asked.append((request.path, request.headers.get("Authorization")))
        self.bodies.append(await request.json())
        if self.broken:
            return web.Response(status=self.broken[0], text=self.broken[1])
        sticky = request.headers.get("x-moorage-sticky", "")
        canary = bool(sticky) and position("tuned", sticky) < 0.1
        version = "77ab01ff" if canary else "3f9c21aa"
        answer = web.StreamResponse(headers={"x-moorage-adapter-version": version})
        await answer.prepare(request)
        for word in self.words:
            if word == self.words[-1]:
                await self.go_on.wait()
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
        listed = await served.endpoint.models()
        assert listed == [ServedModel("base", 512), ServedModel("tuned", 512)]
    assert [each.text for each in answers] == ["one", "one two", "one two three", "one two three"]
    assert (answers[-1].tokens, answers[-1].done) == (7, True)
    assert answers[-1].version == "3f9c21aa"
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
            await tab.sees("tuned · version 3f9c21aa", "#talk")
            served.broken = (503, "no replica")
            await tab.type("#ask textarea", "And now?", enter=True)
            await tab.sees("The service answered 503: no replica", "#pace")
            await tab.sees("The service answered 503: no replica", "#talk")
            served.broken = None
            await tab.type("#ask textarea", "Once more?", enter=True)
            await tab.until(
                "document.querySelector('#talk').innerText.split('one two three').length === 3"
            )
            served.broken = (503, "no replica")
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
        assert served.bodies[-1]["messages"][-1]["content"] == "Once more?"
        async with served.session.get(url, headers={"Host": "elsewhere.example"}) as answer:
            assert answer.status == 400
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


def test_a_choice_leads_to_its_version():
    """The text that is sent lies below every weight of a canary, or above, as a replica sees it."""
    models = [ServedModel("base"), ServedModel("tuned")]
    names = choices(models, {"tuned"})
    assert names == ["base", "tuned", "tuned" + PRESENT, "tuned" + CANARY]
    assert asked("tuned") == ("tuned", "")
    for choice, low, high in ((names[3], 0.0, 0.01), (names[2], 0.99, 1.0)):
        name, text = asked(choice)
        assert name == "tuned"
        assert low <= replica_position(name, text) < high
        assert position(name, text) == replica_position(name, text)


def test_a_question_without_an_answer_is_not_sent_again():
    """Templates of many models refuse two messages of one role in a row; what an answer gave before
    it broke off counts.
    """
    talk = [
        {"role": "user", "content": "failed"},
        {"role": "assistant", "content": unanswered("", "the service answered 503")},
        {"role": "user", "content": "stopped before a word"},
        {"role": "user", "content": "broke off"},
        {"role": "assistant", "content": unanswered("half", "the answer broke off")},
        {"role": "user", "content": "now"},
    ]
    sent = [(each["role"], each["content"]) for each in plain(talk, "", {})]
    assert sent == [("user", "broke off"), ("assistant", "half"), ("user", "now")]
    assert "The service answered 503" in talk[1]["content"]


async def test_an_answer_that_a_proxy_ends_is_not_whole():
    """A server that dies in the middle, behind a proxy that ends its answer in good form."""

    async def cut(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n')
        return answer

    app = web.Application()
    app.router.add_post("/v1/chat/completions", cut)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        endpoint = Endpoint(session, f"http://127.0.0.1:{runner.addresses[0][1]}", "secret")
        with pytest.raises(EndpointError, match="broke off"):
            [each async for each in endpoint.stream("base", [])]
    await runner.cleanup()


def test_what_a_browser_kept_is_only_a_conversation():
    """Whatever stands in its storage; who gave an answer is not sent to the model."""
    history = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    history.append({"role": "assistant", "content": signed("b", "tuned", "3f9c")})
    again = kept([*history, {"role": "system", "content": "x"}, 7, {"content": "y"}])
    assert again[1]["content"].endswith("*tuned · version 3f9c*")
    assert kept("nonsense") == kept(None) == []
    assert plain(again, " ", {}) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


@needs_chromium
@pytest.mark.slow
@pytest.mark.vital
async def test_a_talk_loses_nothing():
    """Enter while an answer grows waits for its turn; a reload finds the conversation; the sliders
    know the model; two versions answer side by side; nothing can be uploaded.
    """
    from reconciler.chat import page as pages
    from reconciler.chat.server import serve

    async def look():
        return State(StateKind.READY, "ready")

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with Served() as served:
        page = pages.Page("phi", "local Azure", served.endpoint, look, lambda: {"tuned"})
        server = asyncio.create_task(serve(page, listening))
        async with browser(url) as tab:
            await tab.sees("tuned", "#model input", seconds=90)
            assert await tab.run("document.querySelector('#length input[type=range]').max") == "512"
            assert await tab.run("document.querySelectorAll('input[type=file]').length") == 0
            served.go_on.clear()
            await tab.type("#ask textarea", "First?", enter=True)
            await tab.sees("one two", "#talk")
            # Both at once: the second Enter comes before the page has answered the first.
            await tab.type("#ask textarea", "Second?", enter=True)
            await tab.type("#ask textarea", "Third?", enter=True)
            await tab.type("#ask textarea", "Not yet")
            await tab.sees("Second?", "#queue")
            await tab.sees("Third?", "#queue")
            assert await tab.text("#ask textarea") == "Not yet"
            served.go_on.set()
            talk = await tab.sees("Third?", "#talk")
            assert talk.index("First?") < talk.index("Second?") < talk.index("Third?")
            await tab.run(
                "new Promise(r => { const t = setInterval(() => { if ((document.querySelector("
                "'#talk').innerText.match(/one two three/g) || []).length === 3) {"
                " clearInterval(t); r(1) } }, 100) })"
            )
            said = [m["content"] for m in served.bodies[-1]["messages"] if m["role"] == "user"]
            assert said == ["First?", "Second?", "Third?"]
            given = [m["content"] for m in served.bodies[-1]["messages"] if m["role"] != "user"]
            assert given == ["one two three"] * 2
            await _kept_in(tab)
            await tab.call("Page.reload")
            await tab.sees("Third?", "#talk", seconds=60)
            await tab.sees("tuned · version 3f9c21aa", "#talk")

            await tab.click("button[role=tab]", "Compare")
            for side, choice in (("left", PRESENT), ("right", CANARY)):
                await tab.click(f"#{side}-model input")
                await tab.sees("tuned" + choice, f"#{side}-model [role=listbox]")
                await tab.click(f"#{side}-model [role=option]", "tuned" + choice)
                await tab.sees("tuned" + choice, f"#{side}-model input")
            await tab.type("#prompt textarea", "Both?")
            await tab.click("#both")
            await tab.sees("version 3f9c21aa", "#left-pace")
            await tab.sees("version 77ab01ff", "#right-pace")
            assert {body["model"] for body in served.bodies[-2:]} == {"tuned"}
            await tab.sees("together have at most 512", "#compare-length")
            served.go_on.clear()
            await tab.click("#again")
            await tab.run(_count("#left-answer", "one two", 2))
            await tab.type("#prompt textarea", "And this?", enter=True)
            await tab.sees("And this?", "#pairs")
            served.go_on.set()
            for side, version in (("left", "3f9c21aa"), ("right", "77ab01ff")):
                said = await tab.sees("And this?", f"#{side}-answer")
                assert said.count("Both?") == 2
                await tab.run(_count(f"#{side}-answer", f"tuned · version {version}", 3))
            asked_of = [body["messages"][0]["content"] for body in served.bodies[-4:]]
            assert asked_of == ["Both?", "Both?", "And this?", "And this?"]
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def _kept_in(tab):
    """Wait until the browser's store has not changed for 3 s. What is in it is enciphered, so that
    nothing else tells whether the page has written the last answer.
    """
    before, since = "", time.monotonic()
    while not before or time.monotonic() - since < 3:
        await asyncio.sleep(0.2)
        now = await tab.run("JSON.stringify(localStorage)")
        if now != before:
            before, since = now, time.monotonic()


def _count(selector, words, times):
    """A promise that is kept once the words stand there so often."""
    found = f"document.querySelector('{selector}').innerText.split('{words}').length - 1"
    return f"new Promise(r => {{ const t = setInterval(() => {{ if ({found} === {times}) {{ clearInterval(t); r(1) }} }}, 100) }})"
