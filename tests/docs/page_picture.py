"""Makes docs/page.png anew: the page of a service that serves, in a real Chromium. Run it after a
change of the page's look: `python -m tests.docs.page_picture`.
"""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.api.kinds import Kind
from reconciler.engine.external import ObjectKey
from reconciler.web.spending import ReplicaPrice
from tests.browser import browser
from tests.web.worlds import GOOD, World, ago, first_tokens

PLACE = Path(__file__).parents[2] / "docs" / "page.png"
SALES = "b25e7d04" + "0" * 56
WIDTH = 960
END = "document.querySelector('#history').parentElement.getBoundingClientRect().bottom"


def _world() -> World:
    """Two replicas that have served for an hour, with figures that fit one another."""
    world = World()
    world.service("phi", "serves")
    world.prices = {"phi": ReplicaPrice("EUR", 2.16)}
    app = ObjectKey(Kind.APP, "phi")
    record = next(each for each in world.store.objects() if each.key == app)
    for each in record.outputs["arm"]["replicas"]:
        each["createdTime"] = ago(minutes=64)
    for number, each in enumerate(record.outputs["replicas"]):
        each["traffic"] = {"requests": 61 - number, "errors": 0, "firstTokens": first_tokens(0.21)}
        for adapter, requests in zip(each["adapters"], (38, 23 - number), strict=True):
            adapter |= {"requests": requests, "errors": 0}
    world.store.put_object(record)
    for each in world.store.objects():
        world.store.put_object(replace(each, outputs=_with_own_digests(each.outputs)))
    return world


def _with_own_digests(value: Any) -> Any:
    """Two adapters have two digests, as folders with other files have."""
    if isinstance(value, list):
        return [_with_own_digests(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: SALES if value.get("name") == "sales" and each == GOOD else _with_own_digests(each)
        for key, each in value.items()
    }


async def draw(place: Path) -> None:
    """Write the picture of the page, from its top to the end of the history."""
    world = _world()
    async with world.served() as address, browser(f"{address}/services/phi") as tab:
        await tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=WIDTH,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        await tab.sees("Timeline")
        await tab.until("document.readyState === 'complete'")  # before, it has no style
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": 16 + await tab.run(END), "scale": 1}
        shot = await tab.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
    place.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    asyncio.run(draw(PLACE))
