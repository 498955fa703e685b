"""The page in a real Chromium, by what is visible: narrow and wide, light and dark, with 1, 30 and
300 services and with everything broken, with and without JavaScript, by keyboard.
"""

import asyncio
import time

import pytest

from tests.browser import PROGRAM, browser
from tests.web.worlds import TOKEN, World, broken, many

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="there is no Chromium on this machine (apt install chromium)"
)
WORLDS = {"1": lambda: many(1), "30": lambda: many(30), "300": lambda: many(300), "broken": broken}
# WCAG 2.2, 1.4.3: 4.5, or 3 for text of 24 px, or of 18.66 px and bold.
CONTRAST = """(() => {
  const known = new Map(), c = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const channels = text => { if (!known.has(text)) known.set(text, read(text)); return known.get(text); };
  const read = text => { c.clearRect(0, 0, 1, 1);
    c.fillStyle = text; c.fillRect(0, 0, 1, 1); return c.getImageData(0, 0, 1, 1).data; };
  const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const grounds = new Map();
  const ground = e => { if (!e) throw new Error("no ground");
    if (!grounds.has(e)) { const c = channels(getComputedStyle(e).backgroundColor);
      if (c[3] !== 255 && c[3] !== 0) throw new Error("half transparent: " + e.className);
      grounds.set(e, c[3] ? c : ground(e.parentElement)); }
    return grounds.get(e); };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility({visibilityProperty: true})) continue;
    if (e.closest("option")) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    if (style.opacity !== "1") throw new Error("opacity on " + e.className);
    const [a, b] = [light(channels(style.color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    count++;
    if (ratio < (large ? 3 : 4.5)) found.push(node.data.trim().slice(0, 40) + " " + ratio.toFixed(2));
  }
  return {found, count};
})()"""
OVERFLOW = """(() => { const wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= wide) return [];
  return [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre")
    && e.getBoundingClientRect().right > wide + 0.5).map(e => e.tagName + "." + e.className).slice(0, 5)
    .concat(["scrollWidth " + document.documentElement.scrollWidth]); })()"""


async def look(tab, url, width=1440, scheme="light"):
    await tab.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=900,
        deviceScaleFactor=1,
        mobile=False,
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await tab.call("Emulation.setEmulatedMedia", features=features)
    await tab.call("Page.navigate", url=url)
    deadline = time.monotonic() + 90
    path = f"location.href === {url!r} && document.readyState === 'complete'"
    while not await tab.run(path):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "name", ["1", *(pytest.param(n, marks=pytest.mark.slow) for n in ("30", "300")), "broken"]
)
async def test_it_fits_and_can_be_read_everywhere(name):
    """At 360 and 1440 pixels nothing is cut off or scrolls sideways; every text has the contrast of
    WCAG AA, in the light and in the dark.
    """
    world = WORLDS[name]()
    service = world.look().services[0].name
    paths = ["/", f"/services/{service}", "/environments/default", "/events"]
    paths = paths[:1] if name == "300" else paths
    paths += [f"/approve/InferenceService/{each.name}" for each in world.look().waiting[:1]]
    async with world.served() as address, browser(f"{address}/") as tab:
        for path in paths:
            for width, scheme in ((360, "dark"), (1440, "light")):
                await look(tab, address + path, width, scheme)
                assert await tab.run(OVERFLOW) == [], (path, width)
                contrast = await tab.run(CONTRAST)
                assert contrast["found"] == [], (path, scheme)
                assert contrast["count"] > 10
        assert {request for request in tab.requests if not request.startswith(address)} <= {
            "data:,"
        }
        assert tab.console == []


async def test_five_seconds_tell_what_matters():
    """Target, whether it serves, whether it is in sync, what runs, and the verdict are on the first
    screen.
    """
    world = World()
    world.service("phi", "waits")
    async with world.served() as address, browser(f"{address}/") as tab:
        for words in ("local Azure", "a plan waits for you", "1 of 1", "Waits for approval"):
            await tab.sees(words)
        bottom = "document.querySelector('.tiles').getBoundingClientRect().bottom < innerHeight"
        assert await tab.run(bottom)


async def test_a_night_is_understood_in_the_morning():
    """The failed service is one click away: cause, remedy, log lines, stages, history, and what
    serves meanwhile.
    """
    world = many(12)
    async with world.served() as address, browser(f"{address}/") as tab:
        await tab.sees("service-003")
        await tab.click("a", "service-003")
        page = await tab.sees("What is not well")
        for words in (
            "RevisionFailed",
            "max_model_len 8192 is larger than 4096",
            "moorage logs",
            "phi--r1 still serves",
            "template.scale",
            "moorage rollback service-003 --to 1",
        ):
            assert words in page
        await tab.click("a", "ContainerApp/service-003")
        await tab.sees("Unready", ".aimed .chip")
        await tab.run("window.before = document.querySelector('main').firstElementChild")
        world.service("service-004", "starts")
        await tab.until("!window.before.isConnected")
        await tab.sees("Unready", ".aimed .chip")


async def test_it_updates_by_itself_and_keeps_what_a_person_does():
    """A new event appears without a reload; an opened part and the focus stay; when the daemon ends,
    the page says that it is old.
    """
    world = World()
    world.service("phi", "starts")
    async with world.served() as address, browser(f"{address}/services/phi") as tab:
        await tab.sees("What is happening now")
        await tab.run("document.querySelector('#snippet-3').open = true; window.same = 1")
        await tab.run("document.querySelector('header a').focus()")
        world.service("phi", "serves")
        await tab.sees("phi serves support@3f9c")
        assert await tab.run("document.querySelector('#snippet-3').open && window.same === 1")
        assert await tab.text("#lost") == ""
    # the server has ended; the browser still shows the page it had


async def test_what_is_read_stays_where_it_is():
    """A part that grows above the place that a person reads does not move it; the time of what is
    seen goes on.
    """
    world = World()
    world.service("phi", "serves")
    async with world.served() as address, browser(f"{address}/services/phi") as tab:
        await tab.sees("Timeline")
        await look(tab, f"{address}/services/phi", 360)
        await tab.run("document.querySelector('#history').scrollIntoView()")
        place = "document.querySelector('#history').getBoundingClientRect().top"
        before = await tab.run(place)
        world.service("phi", "fails")
        await tab.until("document.body.innerText.includes('What is not well')")
        assert abs(await tab.run(place) - before) < 2
        assert await tab.text(".seen") == "12:00:00 UTC"


async def test_a_phone_shows_each_figure_and_each_line():
    """At 360 pixels no table of figures and no log line has to be moved sideways, and no button lies
    on the lines that it copies.
    """
    world = World()
    world.service("phi", "fails")
    world.gateway(("phi", "failed"))
    async with world.served() as address, browser(f"{address}/") as tab:
        inside = """[...document.querySelectorAll(".scroll, pre.lines")]
            .filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"""
        await look(tab, f"{address}/services/phi", 360)
        assert await tab.run(inside) == []
        await tab.until("!!document.querySelector('.copies button')")
        lies = """(() => { const [b, t] = ["button", "pre"].map(n =>
            document.querySelector(".copies " + n).getBoundingClientRect());
            return b.bottom > t.top })()"""
        assert not await tab.run(lies)
        await look(tab, f"{address}/environments/default", 360)
        assert await tab.run(inside) == []
        assert "input tokens" in await tab.run(
            "getComputedStyle(document.querySelectorAll('.stack td')[1], '::before').content"
        )


async def test_a_page_that_hears_nothing_says_so():
    """A person never takes an old page for the present."""
    world = World()
    world.service()
    served = world.served()
    address = await served.__aenter__()
    async with browser(f"{address}/") as tab:
        await tab.sees("phi serves")
        await _followed(tab)
        await served.__aexit__(None, None, None)
        await tab.sees("The daemon does not answer", "#lost")


async def test_a_daemon_that_accepts_and_is_silent_is_noticed():
    """A stopped process keeps its connections open; the page does not wait for it without end, and
    goes on when it answers again.
    """
    world = World()
    world.service("phi", "starts")
    async with world.served() as address, browser(f"{address}/") as tab:
        await _followed(tab)
        quick = "const t = AbortSignal.timeout; AbortSignal.timeout = ms => t.call(AbortSignal, ms / 20)"
        await tab.run(quick)
        await tab.call("Fetch.enable", patterns=[{"urlPattern": "*"}])  # nobody continues them
        world.service("phi", "serves")
        await tab.sees("The daemon does not answer", "#lost")
        await tab.call("Fetch.disable")
        world.service("other", "serves")
        await tab.sees("phi serves")
        await tab.until("document.querySelector('#lost').hidden")


async def test_it_works_without_javascript():
    """Everything is in the page that the server sent, an approval included."""
    world = World()
    world.service("phi", "waits")
    async with world.served() as address, browser(f"{address}/") as tab:
        await tab.call("Emulation.setScriptExecutionDisabled", value=True)
        await look(tab, f"{address}/")
        await tab.click("a", "Look at the plan")
        await tab.sees("phi stops serving.")
        await tab.type("input[name=token]", TOKEN)
        await tab.click("label.check")
        await tab.click("button", "Approve")
        await tab.sees("The plan that waits for you")
    assert world.store.get("approvals")


async def test_a_click_during_an_update_counts():
    """Content that changes between the press and the release of a button takes no click away."""
    world = World()
    world.service("phi", "starts")
    async with world.served() as address, browser(f"{address}/") as tab:
        await tab.sees("phi does not serve yet")
        await _followed(tab)
        place = await tab.run("""(() => { const r = document.querySelector('#row-phi').getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2] })()""")
        at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        await tab.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        world.service("phi", "serves")
        await asyncio.sleep(3)  # an update comes within two seconds
        await tab.call("Input.dispatchMouseEvent", type="mouseReleased", **at)
        await tab.sees("Traffic by revision")


async def test_a_form_that_is_being_filled_in_stays():
    """An update does not take away what a person has typed."""
    world = World()
    world.service("phi", "manual")
    async with world.served() as address:
        url = f"{address}/approve/InferenceService/phi"
        async with browser(url) as tab:
            await tab.sees("What stops")
            await tab.type("input[name=token]", "half a token")
            world.service("other", "serves")
            await asyncio.sleep(2.5)
            assert await tab.text("input[name=token]") == "half a token"


async def test_the_keyboard_reaches_everything():
    """Tab goes to the skip link, then in order; what has the focus shows it; Enter follows it."""
    world = World()
    world.service()
    async with world.served() as address, browser(f"{address}/") as tab:
        await tab.sees("phi serves")
        seen = []
        for _ in range(6):
            await _press(tab, "Tab", 9)
            seen.append(await tab.run("document.activeElement.innerText"))
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert await tab.run(outline) == "solid"
        assert seen[0] == "Skip to the content"
        assert "phi" in seen
        await tab.run("document.querySelector('#row-phi').focus()")
        await _press(tab, "Enter", 13, text="\r")
        await tab.sees("Traffic by revision")


async def _followed(tab):
    """The page can be read before its script runs."""
    while not any(request.endswith("/updates") for request in tab.requests):
        await asyncio.sleep(0.05)


async def _press(tab, key, code, **more):
    for kind in ("keyDown", "keyUp"):
        values = more if kind == "keyDown" else {}
        await tab.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=key,
            code=key,
            windowsVirtualKeyCode=code,
            **values,
        )


async def test_a_page_finds_the_daemon_again():
    """After a restart on the same address the page goes on by itself, and no longer says that
    nothing answers.
    """
    world = World()
    world.service("phi", "starts")
    served = world.served()
    address = await served.__aenter__()
    async with browser(f"{address}/") as tab:
        await tab.sees("phi does not serve yet")
        await _followed(tab)
        await served.__aexit__(None, None, None)
        await tab.sees("The daemon does not answer", "#lost")
        world.service("phi", "serves")
        async with world.served(port=int(address.rpartition(":")[2])):
            await tab.sees("phi serves support@3f9c", seconds=60)
            assert await tab.text("#lost") == ""
