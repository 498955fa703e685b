"""Notices reach a receiver over real HTTP: once when something begins, once when it is over."""

import base64
import hashlib
import hmac
import html
import json
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.conditions import ConditionSet
from reconciler.edges.notify import SETTLED, NoticeNotSentError, Notices
from reconciler.notification import receiver_of
from reconciler.settings import NotifySettings, SettingsError
from reconciler.web.notices import IDLE, Occasion, as_markup
from tests.web.worlds import NOW, World


class Inbox:
    """A receiver that keeps what it is sent, and refuses while `status` is an error."""

    def __init__(self):
        self.taken, self.raw, self.status = [], [], 204
        self.poison = ()  # the names of services whose notices are always refused

    async def take(self, request):
        if (await request.json()).get("name") in self.poison:
            return web.Response(status=400)
        if self.status < 300:
            self.taken.append((dict(request.headers), await request.json()))
            self.raw.append(await request.read())
        return web.Response(status=self.status, headers={"Location": "http://127.0.0.1:9/"})

    @property
    def said(self):
        return [(body["occasion"], body["name"], body["state"]) for _, body in self.taken]


@asynccontextmanager
async def inbox():
    box, app = Inbox(), web.Application()
    app.router.add_post("/hook", box.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?secret=hunter22"
    try:
        yield box
    finally:
        await runner.cleanup()


def edge(world, box, form="webhook", on="", token="", now=NOW, secret="", clock=lambda: 0.0):
    receiver = receiver_of(NotifySettings(box.url, form, token, on, secret))
    return Notices(
        world.store, receiver, "/moorage/x", "local Azure", lambda: False, lambda: now, clock
    )


async def test_each_occasion_is_told_once_and_again_when_it_is_over():
    """A restart sends nothing twice; what is well again is told too."""
    world = World()
    for state in ("fails", "stalls", "waits", "held", "serves", "asleep", "starts"):
        world.service(state, state)
    async with inbox() as box:
        await edge(world, box).act()
        assert sorted(box.said) == [
            ("AwaitingApproval", "waits", "begun"),
            ("NotReady", "fails", "begun"),
            ("NotReady", "stalls", "begun"),
            ("RolledBack", "held", "begun"),
            ("Stalled", "stalls", "begun"),
        ]
        text = next(body["text"] for _, body in box.taken if body["name"] == "waits")
        assert text.startswith("InferenceService/waits on the local Azure: AwaitingApproval")
        assert "moorage approve" in text
        box.taken.clear()
        await edge(world, box).act()
        assert box.said == []
        world.service("waits", "serves")
        now = [0.0]
        again = edge(world, box, clock=lambda: now[0])
        await again.act()
        assert box.said == []
        now[0] += SETTLED
        await again.act()
        assert box.said == [("AwaitingApproval", "waits", "over")]


async def test_what_comes_and_goes_is_told_once():
    """A service that fails every few seconds sends one notice, and one when it has been well for a
    minute.
    """
    world, now = World(), [0.0]
    async with inbox() as box:
        telling = edge(world, box, clock=lambda: now[0])
        for _ in range(20):
            for state in ("fails", "serves"):
                world.service("flaps", state)
                await telling.act()
                now[0] += 5.0
        assert box.said == [("NotReady", "flaps", "begun")]
        now[0] += SETTLED
        await telling.act()
        assert box.said == [("NotReady", "flaps", "begun"), ("NotReady", "flaps", "over")]


async def test_a_notice_is_signed_where_there_is_a_key():
    """As Standard Webhooks says: id, time and body together, so that no copy passes for another."""
    world = World()
    world.service("fails", "fails")
    key = bytes(range(32))
    async with inbox() as box:
        await edge(world, box, secret="whsec_" + base64.b64encode(key).decode()).act()
        (headers, _), (raw,) = box.taken[0], box.raw
    headers = {name.lower(): value for name, value in headers.items()}
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    right = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    assert int(headers["webhook-timestamp"]) == int(NOW.timestamp())
    assert headers["webhook-id"] == json.loads(raw)["id"]


async def test_a_refusal_is_tried_again_with_the_same_id():
    """Nothing is lost while the receiver is away, and no message shows the address."""
    world = World()
    world.service("phi", "stalls")
    async with inbox() as box:
        one = edge(world, box, on="stalled")
        for status in (500, 404, 302):
            box.status = status
            with pytest.raises(NoticeNotSentError) as raised:
                await one.act()
            assert raised.value.message == f"127.0.0.1 answered {status}"
        box.status = 200
        await one.act()
        assert box.said == [("Stalled", "phi", "begun")]
        assert box.taken[0][1]["id"]


async def test_a_notice_that_is_refused_keeps_no_other_back():
    """However many the receiver refuses: the next try begins with those that it has not seen."""
    world = World()
    names = [f"s{number}" for number in range(9)]
    for name in names:
        world.service(name, "stalls")
    async with inbox() as box:
        box.poison = names[:7]
        one = edge(world, box, on="Stalled")
        for _ in range(3):
            with pytest.raises(NoticeNotSentError, match="answered 400"):
                await one.act()
        assert sorted(name for _, name, _ in box.said) == names[7:]
        box.poison = ()
        await one.act()
        assert sorted(name for _, name, _ in box.said) == names


async def test_a_daemon_that_stopped_writing_tries_no_notice_again():
    """Between two tries the lease may have gone to another daemon, which sends the notices."""
    world = World()
    world.service("phi", "stalls")
    leads = [True]
    async with inbox() as box:
        receiver = receiver_of(NotifySettings(box.url, "webhook", "", ""))
        one = Notices(world.store, receiver, "/moorage/x", "here", lambda: not leads[0])
        box.status = 500
        with pytest.raises(NoticeNotSentError):
            await one.act()
        leads[0], box.status = False, 200
        await one.act()
        assert box.said == []


async def test_a_cloud_event_has_what_the_specification_asks_for():
    """Structured mode, with the token in the header."""
    world = World()
    world.service("phi", "held")
    async with inbox() as box:
        await edge(world, box, "cloudevents", token="t0ken").act()
        ((headers, event),) = box.taken
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert headers["Authorization"] == "Bearer t0ken"
    assert event["specversion"] == "1.0"
    assert event["type"] == "dev.moorage.rolledback"
    assert event["source"] == "/moorage/x"
    assert event["subject"] == "InferenceService/phi"
    assert event["time"] == "2026-11-29T12:00:00Z"
    assert event["data"]["state"] == "begun"
    assert event["id"]


async def test_a_replica_that_is_billed_and_does_not_serve_is_told_after_a_while():
    """A start takes its time; half an hour is no start."""
    world = World()
    world.service("phi", "starts")
    async with inbox() as box:
        await edge(world, box).act()
        assert box.said == []
        await edge(world, box, now=NOW + timedelta(seconds=IDLE)).act()
        assert box.said == [("IdleSpending", "phi", "begun")]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("http://example.com/hunter22", "webhook", "", ""), "must be an https URL"),
        (("https:///hunter22", "webhook", "", ""), "must be an https URL"),
        (("https://[hunter22", "webhook", "", ""), "is no URL"),
        (("https://example.com", "smoke", "", ""), "must be one of cloudevents, webhook, teams"),
        (("https://example.com", "webhook", "", "Stalled, Bored"), "'Bored'"),
        (("https://example.com", "webhook", "", "", "hunter22"), "must be whsec_"),
    ],
)
def test_a_wrong_setting_is_one_sentence_without_the_address(values, says):
    """The address of a webhook is a secret."""
    with pytest.raises(SettingsError, match=says) as raised:
        receiver_of(NotifySettings(*values))
    assert "hunter22" not in str(raised.value)


def test_without_an_address_nobody_is_told():
    """And all occasions are told where none is chosen."""
    assert receiver_of(NotifySettings("", "", "", "")) is None
    receiver = receiver_of(NotifySettings("https://example.com", "webhook", "", ""))
    assert receiver.occasions == frozenset(Occasion)


@pytest.mark.parametrize("text", ["{", "[1]", '[["Bored", "a", "b", "c", "d"]]', "7"])
async def test_a_damaged_memory_sends_again_rather_than_nothing(text):
    """The state file is a cache."""
    world = World()
    world.service("phi", "stalls")
    world.store.put("told", text)
    async with inbox() as box:
        await edge(world, box, on="Stalled").act()
        assert box.said == [("Stalled", "phi", "begun")]


HOSTILE = [
    "<!channel> look at <https://evil.example|the portal>",
    "<@U024BE7LH> <!subteam^S1> &lt;!here&gt;",
    "@here @channel (@all) @everyone _@all .@all",
    "[your approval](https://evil.example) [a][1]\n[1]: https://evil.example ![x](http://evil)",
]


@pytest.mark.parametrize("message", HOSTILE)
async def test_an_error_message_calls_nobody_and_hides_no_address(message):
    """A chat shows the message of a notice as it is; programs get it unchanged in `message`."""
    world = World()
    world.service("phi", "stalls")
    (row,) = (row for row in world.store.documents() if row.ref.name == "phi")
    said = [replace(each, message=message) for each in row.conditions]
    world.store.put_conditions(row.ref, 1, ConditionSet(lambda: NOW, said))
    async with inbox() as box:
        await edge(world, box, on="Stalled").act()
        ((_, body),) = box.taken
    assert body["message"].endswith(message)
    assert shown_as_text(body["text"])


async def test_teams_gets_a_card_whose_text_is_no_markup():
    """A workflow of Teams posts Adaptive Cards alone; what others wrote stands in text runs."""
    world = World()
    world.service("phi", "held")
    async with inbox() as box:
        telling = edge(world, box, "teams", on="RolledBack")
        await telling.act()
        ((headers, body),) = box.taken
    assert headers["Content-Type"] == "application/json"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    head, *rest = attachment["content"]["body"]
    assert head["text"] == "InferenceService/phi on the local Azure: RolledBack"
    assert {each["type"] for each in rest} == {"RichTextBlock"}
    texts = [run["text"] for each in rest for run in each["inlines"]]
    assert texts[0].startswith("RolledBack: ")
    assert texts[1].startswith("What to do: ")
    assert "hunter22" not in json.dumps(body)


@given(st.text(alphabet="ab1._ \n@<>&|!()[]:#*`é") | st.text())
def test_any_text_is_text_in_a_chat(text):
    """Nothing in it is markup, and a reader gets the same characters, but for spaces."""
    markup = as_markup(text)
    assert shown_as_text(markup)
    assert "".join(html.unescape(markup).split()) == "".join(text.split())


def shown_as_text(markup):
    """Whether neither Slack, which reads <…>, nor a reader of Markdown finds a mention or a link."""
    bare = re.sub(r"&(amp|lt|gt);", "%", markup)
    return not re.search(r"[<>&\n]|(?<![0-9A-Za-z])@\w|\][(\[:]", bare)
