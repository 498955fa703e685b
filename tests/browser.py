"""A real headless Chromium, driven over its own DevTools protocol: what a person sees, types and
clicks.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.patience import LEAST, patient

PROGRAM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
QUIET = (
    *(
        "--headless=new",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *(
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
    ),
)


class Browser:
    """One tab. `requests` are the URLs it has asked for since it was opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.console: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def open(self, url: str) -> None:
        await self.call("Page.enable")
        await self.call("Network.enable")
        await self.call("Runtime.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=1200,
            height=860,
            deviceScaleFactor=1,
            mobile=False,
        )
        await self.call("Page.navigate", url=url)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = len(self._waiting) + 1
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._waiting[number], LEAST)
        assert "error" not in answer, answer
        return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def text(self, selector: str = "body") -> str:
        """What can be read there; empty when it is not visible."""
        return await self.run(
            f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            return e && e.checkVisibility({{visibilityProperty: true}}) ? (e.value ?? e.innerText) : "" }})()"""
        )

    async def sees(self, words: str, selector: str = "body", seconds: float = 30) -> str:
        """Wait until `words` can be read at `selector`; the whole text there."""
        deadline = time.monotonic() + patient(seconds)
        while words not in (text := await self.text(selector)):
            assert time.monotonic() < deadline, (
                f"{words!r} is not to be seen at {selector}:\n{text}\n{self.console}"
            )
            await asyncio.sleep(0.1)
        return text

    async def click(self, selector: str, words: str = "") -> None:
        """Click the middle of the first visible element (with these words in it, if any)."""
        await self.until("document.readyState === 'complete'")  # else a style may still move it
        place = await self.run(
            f"""(() => {{ const e = [...document.querySelectorAll({json.dumps(selector)})].find(
                e => e.checkVisibility({{visibilityProperty: true}}) && e.innerText.includes({json.dumps(words)}));
            if (!e) return null; e.scrollIntoView({{block: "center"}}); const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2] }})()"""
        )
        assert place, f"nothing to click at {selector} {words}"
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=place[0],
                y=place[1],
                button="left",
                clickCount=1,
            )

    async def type(self, selector: str, text: str, *, enter: bool = False) -> None:
        await self.click(selector)
        await self.run(f"document.querySelector({json.dumps(selector)}).select?.()")
        await self.call("Input.insertText", text=text)
        if enter:
            for kind in ("keyDown", "keyUp"):
                await self.call(
                    "Input.dispatchKeyEvent",
                    type=kind,
                    key="Enter",
                    code="Enter",
                    windowsVirtualKeyCode=13,
                    text="\r",
                )

    async def choose(self, selector: str, file: Path) -> None:
        """Choose a file in a form, as its dialog would."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        found = await self.call("DOM.querySelector", nodeId=root, selector=selector)
        await self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=found["nodeId"])

    async def until(self, script: str, seconds: float = 30) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + patient(seconds)
        while not await self.run(script):
            assert time.monotonic() < deadline, f"never true: {script}\n{self.console}"
            await asyncio.sleep(0.1)

    async def picture(self, file: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._waiting[said["id"]].set_result(said)
            elif said["method"] == "Network.requestWillBeSent":
                self.requests.append(said["params"]["request"]["url"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.console.append(str(said["params"])[:500])
            elif said["method"] == "Runtime.consoleAPICalled" and said["params"]["type"] == "error":
                self.console.append(str(said["params"]["args"])[:500])


@asynccontextmanager
async def browser(url: str) -> AsyncIterator[Browser]:
    """A Chromium with an empty profile at `url`; it and all it started are ended with the block."""
    assert PROGRAM
    profile = tempfile.mkdtemp(prefix="chromium-")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to run as root with one
    call = [*QUIET, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    nowhere = subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *call, stdout=nowhere, stderr=nowhere, start_new_session=True
    )
    try:
        port = await _port(Path(profile) / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                tab = next(each for each in await answer.json() if each["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                one = Browser(socket)
                await one.open(url)
                yield one
                one._reader.cancel()
    finally:
        os.killpg(process.pid, 9)
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _port(file: Path) -> str:
    deadline = time.monotonic() + LEAST
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline, "Chromium did not start"
        await asyncio.sleep(0.1)
    return file.read_text().splitlines()[0]
