"""The daemon's web server shows what was observed: health, readiness, metrics, JSON and the page; it
reads for this machine or for a token, and decides only for another token.
"""

import asyncio
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.api.kinds import Kind
from reconciler.engine.external import ObjectKey
from reconciler.web.decisions import WriteToken, keep_token
from reconciler.web.metrics import DaemonMetrics
from reconciler.web.pages import Pages
from reconciler.web.server import WebServer
from tests.web.worlds import TOKEN, World, broken, many, text

APPROVAL = "/approve/InferenceService/phi"
ROLLBACK = "/services/phi/rollback/phi--r1"


async def test_health_and_readiness(http):
    """Alive is enough for health; ready is only who may write."""
    world, leads = World(), [True]
    metrics = DaemonMetrics({"GET": 3})
    metrics.saw("ContainerApp", "Ready", 0.1)
    pages = Pages(world.store, world.look, world, WriteToken(TOKEN, ""))
    listening = socket.create_server(("127.0.0.1", 0))
    async with WebServer(listening, dict, metrics, lambda: leads[0], pages) as server:
        assert (await text(http, f"{server.address}healthz"))[0] == 200
        assert (await text(http, f"{server.address}readyz"))[0] == 200
        leads[0] = False
        assert (await text(http, f"{server.address}readyz"))[0] == 503


async def test_metrics_say_what_was_observed(http):
    """Requests, conditions and replicas are there under their names."""
    world = World()
    world.service()
    async with world.served() as address:
        _, said = await text(http, f"{address}/metrics")
    assert 'moorage_azure_requests{method="GET"} 3.0' in said
    assert 'moorage_condition{condition="Ready",kind="InferenceService",name="phi"} 1.0' in said
    assert 'moorage_replicas{ready="true",service="phi"} 2.0' in said


async def test_what_others_said_is_text_and_never_markup(http):
    """What Azure, a replica or a document says is escaped, and no page may run what it holds."""
    world = broken()
    world.store.put("problems", "<script>alert(1)</script>")
    async with world.served() as address, http.get(address) as answer:
        page = await answer.text()
        assert "&lt;script&gt;alert(1)" in page
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_every_page_of_every_state_is_there(http):
    """No state of a document makes a page fail, and a strict template misses no value."""
    world = many(30)
    async with world.served() as address:
        for document in world.look().documents:
            kind = "services" if document.is_service else "environments"
            status, page = await text(http, f"{address}/{kind}/{document.name}")
            assert status == 200
            assert document.verdict.replace("'", "&#39;") in page
            if document.waits:
                status, page = await text(
                    http, f"{address}/approve/{document.ref.kind}/{document.name}"
                )
                assert "What stops" in page
        assert (await text(http, f"{address}/events"))[0] == 200
        assert (await text(http, f"{address}/services/none"))[0] == 404
        assert (await text(http, f"{address}/assets/../server.py"))[0] == 404
        assert (await text(http, f"{address}/assets/base.html"))[0] == 404


async def test_a_link_on_a_page_leads_somewhere(http):
    """Links to pages answer 200, links to a resource find its row."""
    world = many(12)
    async with world.served() as address:
        seen, asked = set(), ["/"]
        while asked:
            path = asked.pop()
            status, page = await text(http, f"{address}{path}")
            assert status == 200, path
            links = {link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+)"', page)}
            ids = set(re.findall(r'id="([^"]+)"', page))
            assert {link[1:] for link in links if link.startswith("#")} <= ids, path
            new = {link for link in links if link.startswith("/")} - seen
            seen |= new
            asked += new
        assert len(seen) > 20


async def test_a_gateway_is_shown_with_its_services_and_what_each_key_used(http):
    """An Environment without one has no such section, and one that nobody used says so."""
    world = World()
    world.service("phi")
    async with world.served() as address:
        assert "Usage by key" not in (await text(http, f"{address}/environments/default"))[1]
        world.gateway(("phi", "asleep"))
        _, page = await text(http, f"{address}/environments/default")
    for words in (
        "https://gw-default.swedencentral.example",
        "asleep",
        "2 requests wait",
        ">team</th>",
        'input tokens">3456<',
        'output tokens">789<',
        "Since 2026-11-28 00:00 UTC",
        "moorage usage",
        "moorage key gw-default",
        "https://gw-default.swedencentral.example/v1/chat/completions",
    ):
        assert words in page


async def test_a_long_plan_is_folded_where_it_is_named_and_whole_where_it_is_decided(http):
    """What stops is not pushed out of sight by thirty changed fields."""
    world = World()
    world.service("phi", "manual")
    key = ObjectKey(Kind.APP, "phi")
    record = next(each for each in world.store.objects() if each.key == key)
    changes = tuple(f"template.{number}: a -> b" for number in range(30))
    world.store.put_object(replace(record, changes=changes))
    async with world.served() as address:
        _, page = await text(http, f"{address}/services/phi")
        _, asked = await text(http, address + APPROVAL)
    assert "30 changed fields" in page
    assert "changed fields" not in asked
    assert asked.count("a →") == 30


async def test_a_page_that_cannot_be_made_says_what_to_do(http):
    """A fault of one page is told in words, and the health of the daemon is still told."""

    def fail(_fresh):
        raise KeyError("secret")

    world = World()
    pages = Pages(world.store, fail, world, WriteToken(TOKEN, ""))
    listening = socket.create_server(("127.0.0.1", 0))
    async with WebServer(listening, dict, DaemonMetrics({}), lambda: True, pages) as server:
        status, said = await text(http, server.address)
        assert (await text(http, f"{server.address}healthz"))[0] == 200
    assert status == 500
    assert "moorage status" in said
    assert "secret" not in said


async def test_an_upgrade_under_a_running_daemon_changes_no_page(http, monkeypatch):
    """Templates, style and script are read once, at the start, so that they fit the code."""
    world = World()
    async with world.served() as address:
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: 1 / 0)
        monkeypatch.setattr(Path, "open", lambda *_, **__: 1 / 0)
        monkeypatch.setattr("builtins.open", lambda *_, **__: 1 / 0)
        monkeypatch.setattr("os.path.getmtime", lambda *_: 1 / 0)
        for path in ("/", "/environments/default", "/events", "/none", "/assets/page.css"):
            status, said = await text(http, address + path)
            assert status in (200, 404), said


@pytest.mark.parametrize("query", ["?page=0", "?page=99999999999", "?page=x", "?only=x", "?q=%00"])
async def test_a_query_by_hand_breaks_nothing(http, query):
    """Whatever stands in the address, there is a page."""
    async with many(3).served() as address:
        assert (await text(http, f"{address}/{query}"))[0] == 200


@pytest.mark.parametrize(
    ("host", "token", "headers", "status", "reason"),
    [
        ("127.0.0.1", "", {"Host": "localhost:80"}, 200, "this machine"),
        ("127.0.0.1", "", {"Host": "[::1]"}, 200, "this machine"),
        ("127.0.0.1", "", {"Host": "evil.example"}, 401, "a name that somebody else points here"),
        ("127.0.0.1", "", {"Host": "127.0.0.1.evil.example"}, 401, "so is this"),
        ("127.0.0.1", "", {"Host": "["}, 400, "no name at all"),
        ("127.0.0.1", "t", {"Authorization": "Bearer no"}, 401, "a wrong token is not overlooked"),
        ("127.0.0.1", "t", {"Host": "x", "Authorization": "Bearer t"}, 200, "the token is enough"),
        ("0.0.0.0", "", {}, 401, "beyond loopback without a token"),
        ("0.0.0.0", "t", {}, 401, "nor without bringing it"),
        ("0.0.0.0", "t", {"Authorization": "Bearer t"}, 200, "with it"),
        ("0.0.0.0", "t", {"Cookie": "moorage-page=t"}, 200, "a browser that showed it before"),
        ("0.0.0.0", "t", {"Cookie": "moorage-page=no"}, 401, "another cookie"),
        ("0.0.0.0", "", {"Cookie": "moorage-page="}, 401, "an empty one"),
    ],
)
async def test_the_status_is_for_this_machine_or_for_who_has_the_token(
    http, host, token, headers, status, reason
):
    """A web page elsewhere reads nothing; supervisors always reach health."""
    async with World().served(host, token) as address:
        for path in ("/", "/status", "/metrics", "/updates", "/assets/page.css"):
            if path == "/updates" and status == 200:
                continue
            got, _ = await text(http, address + path, headers=headers)
            assert got in (status, 401 if status == 400 else status), reason
        assert (await text(http, f"{address}/healthz"))[0] == 200


async def test_a_browser_brings_the_token_once(http):
    """It gets a cookie that no script reads, and an address without the token."""
    async with World().served("0.0.0.0", "t") as address:
        async with http.get(f"{address}/?token=t", allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == "/"
            cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await text(http, f"{address}/?token=no"))[0] == 401


def _form(page, **changes):
    seen = re.search(r'name="seen" value="(\w+)"', page)[1]
    return {"seen": seen, "token": TOKEN, "read": "yes", **changes}


async def test_an_approval_is_kept_as_the_command_keeps_it(http):
    """The page writes the same rows, and goes back to the service."""
    world = World()
    world.service("phi", "waits")
    async with world.served() as address:
        _, page = await text(http, address + APPROVAL)
        assert "phi stops serving." in page
        async with http.post(address + APPROVAL, data=_form(page), allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/services/phi")
    assert world.store.approved(ObjectKey("ContainerApp", "phi"), "delete")
    assert world.store.get("approvals")


@pytest.mark.parametrize("path", [APPROVAL, ROLLBACK])
@pytest.mark.parametrize(
    ("form", "headers", "says", "reason"),
    [
        ({"token": ""}, {}, "The token is not right", "none"),
        ({"token": TOKEN[:-1]}, {}, "The token is not right", "not the whole"),
        ({"token": "ü"}, {}, "The token is not right", "what no token can be"),
        ({"read": ""}, {}, "Say that you have read", "nothing was confirmed"),
        ({"seen": "0" * 16}, {}, "has changed since", "another plan was read"),
        ({}, {"Sec-Fetch-Site": "cross-site"}, "by another page", "another page's form"),
        ({}, {"Sec-Fetch-Site": "same-site"}, "by another page", "another port's form"),
    ],
)
async def test_nothing_is_decided_without_the_token_and_the_confirmation(
    http, path, form, headers, says, reason
):
    """The page says why, and nothing was written."""
    world = World()
    world.service("phi", "waits")
    before = world.store.database.connection.total_changes
    async with world.served() as address:
        _, page = await text(http, address + path)
        async with http.post(address + path, data=_form(page, **form), headers=headers) as answer:
            assert answer.status == 403, reason
            assert says in await answer.text(), reason
    assert world.store.database.connection.total_changes == before


async def test_a_confirmation_counts_only_for_what_was_read(http):
    """What waits changed between reading and confirming: it has to be read again."""
    world = World()
    world.service("phi", "manual")
    async with world.served() as address:
        _, page = await text(http, address + APPROVAL)
        world.service("phi", "waits")
        async with http.post(address + APPROVAL, data=_form(page)) as answer:
            assert answer.status == 403
            assert "has changed since" in await answer.text()


async def test_everybody_sees_who_decided_and_that_it_was_taken(http):
    """After a decision the page says at once that it was taken; the timeline keeps who made it, and
    who comes second is told that nothing waits.
    """
    world = World()
    world.service("phi", "waits")
    async with world.served() as address:
        _, page = await text(http, address + APPROVAL)
        seen = re.search(r'name="seen" value="(\w+)"', page)[1]
        form = {"token": TOKEN, "read": "yes", "seen": seen}
        async with http.post(address + APPROVAL, data=form) as answer:
            page = await answer.text()
        for words in ("somebody on the page (from 127.0.0.1)", "approved: delete ContainerApp/phi"):
            assert page.count(words) == 2  # at the top, and in the timeline
        assert "Moorage carries it out" in page
        world.service("phi", "serves")
        async with http.post(address + APPROVAL, data=form) as answer:
            assert "perhaps by somebody else" in await answer.text()


async def test_a_rollback_is_ordered_as_the_command_orders_it(http):
    """The order names the revision that is not to serve and the one that is."""
    world = World()
    world.service()
    async with world.served() as address:
        _, page = await text(http, address + ROLLBACK)
        assert "does not serve while revision phi--r1 starts" in page
        async with http.post(address + ROLLBACK, data=_form(page)) as answer:
            assert answer.status == 200
    assert world.store.get("rollback phi") == '["phi--r2", "phi--r1"]'


@pytest.mark.parametrize(
    ("state", "revision"), [("serves", "phi--r2"), ("serves", "phi--r9"), ("held", "phi--r1")]
)
async def test_there_is_no_rollback_to_what_cannot_serve(http, state, revision):
    """To what the document asks for, to what is not there, or while one holds already."""
    world = World()
    world.service("phi", state)
    async with world.served() as address:
        path = f"{address}/services/phi/rollback/{revision}"
        assert (await text(http, path))[0] == 404
        async with http.post(path, data={}) as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    ("state", "there", "absent"),
    [
        ("held", ("What is not well", "means", "moorage diagnose"), "What was decided"),
        ("decided", ("What was decided", "moorage rollback</code> asked for"), "means"),
    ],
)
async def test_a_rollback_by_hand_is_no_failure(http, state, there, absent):
    """What a person asked for has no remedy; a revision that failed has one."""
    world = World()
    world.service("phi", state)
    async with world.served() as address:
        _, page = await text(http, f"{address}/services/phi")
    main = page[page.index('id="causes"') : page.index('id="traffic"')]
    assert all(words in main for words in there)
    assert absent not in main


async def test_an_open_page_hears_of_each_change_and_ends_no_later_than_the_daemon(http):
    """One event at once, one for each write; a stream does not hold up the end."""
    world = World()
    async with world.served() as address:
        answer = await http.get(f"{address}/updates")
        assert (await answer.content.readuntil(b"\n\n")).startswith(b"data: ")
        world.service()
        assert (await answer.content.readuntil(b"\n\n")).startswith(b"data: ")
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2
    answer.close()


def test_the_token_is_kept_for_its_owner_alone(tmp_path):
    """It is made once; a short one, or one that cannot be kept, opens nothing."""
    made = keep_token(tmp_path, "")
    path = tmp_path / "page-token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep_token(tmp_path, "") == made
    assert made.fits(made.value)
    path.write_text("short\n")
    assert not keep_token(tmp_path, "").fits("short")
    assert keep_token(tmp_path, "given").fits("given")
    assert not keep_token(tmp_path / "nowhere", "").fits("")


async def test_a_daemon_that_stands_by_decides_nothing(http):
    """Its orders would be read by nobody: the page says where they belong, and no button promises
    one.
    """
    world = World()
    world.service("phi", "waits")
    async with world.served() as address:
        form = _form((await text(http, address + APPROVAL))[1])
        world.leading = False
        for path in (APPROVAL, ROLLBACK, "/services/phi"):
            _, page = await text(http, address + path)
            assert "stands by: another daemon writes" in page
            for button in ("<form", "Approve it here", "Go back to it"):
                assert button not in page, path
            assert "decide on its page" in page, path
        async with http.post(address + APPROVAL, data=form) as answer:
            assert answer.status == 403
            assert "decide on its page" in await answer.text()
    assert world.store.get("approvals") is None
