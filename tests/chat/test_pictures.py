"""Images in the chat: offered where the service says that its model takes them, and bounded."""

import asyncio
import base64
import socket

import aiohttp
import pytest
from PIL import Image

from reconciler.chat.pictures import LARGEST, TOGETHER, PictureError, data_url
from reconciler.chat.state import State, StateKind
from reconciler.chat.talk import ChatQuestion, kept, plain, said, shown
from tests.browser import PROGRAM, browser
from tests.chat.test_page import MODELS, Served

PATH = "/tmp/a/cat.png"
QUESTION = ChatQuestion("What is it?", "base", "", 0.7, 0.95, 9, PATH)


def test_only_an_image_that_models_take_is_sent(tmp_path):
    """By what the file holds, not by its name; no larger than a service takes by default, alone and
    with the conversation's other images.
    """
    good = tmp_path / "image.txt"
    Image.new("RGB", (3, 2)).save(good, "PNG")
    url = data_url(str(good), {})
    assert url == f"data:image/png;base64,{base64.b64encode(good.read_bytes()).decode()}"
    drawing = tmp_path / "drawing.png"
    drawing.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    large = tmp_path / "large.png"
    large.write_bytes(good.read_bytes() + bytes(LARGEST))
    for path, others, says in (
        (drawing, {}, "no PNG, JPEG, WebP or GIF"),
        (large, {}, "larger than 6 MiB"),
        (good, {"others": "A" * (TOGETHER * 4 // 3)}, "8 MiB together"),
    ):
        with pytest.raises(PictureError, match=says):
            data_url(str(path), others)


def test_a_message_has_the_images_that_its_session_read():
    """As parts in OpenAI's shape; a path that a browser made up is not read."""
    row = said(QUESTION)
    as_gradio = {"role": "user", "content": [
        {"type": "text", "text": "What is it?"}, {"type": "file", "file": {"path": PATH}}]}  # fmt: skip
    for each in (row, as_gradio):
        assert plain([each], "", {PATH: "data:image/png;base64,AA=="}) == [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                ],
            }
        ]
        assert plain([each], "", {}) == [{"role": "user", "content": "What is it?"}]
        assert shown([each]) == [row]
        assert kept([each]) == [{"role": "user", "content": "What is it?"}]
    assert kept([said(QUESTION._replace(text=""))])[0]["content"] == "(an image)"


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")
@pytest.mark.slow
async def test_an_image_is_added_to_a_question(tmp_path):
    """It goes out as a data: address, and again with each later question; what cannot be sent is
    refused in words at once.
    """
    from reconciler.chat import page as pages
    from reconciler.chat.server import serve

    async def look():
        return State(StateKind.READY, "ready")

    cat, large, other = (tmp_path / name for name in ("cat.png", "large.gif", "drawing.svg"))
    Image.effect_mandelbrot((320, 200), (-2, -1.2, 1, 1.2), 60).convert("RGB").save(cat)
    large.write_bytes(b"GIF89a" + bytes(LARGEST))
    other.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with Served() as served:
        served.listed = {"data": [one | {"input_modalities": ["text", "image"]}
                                  for one in MODELS["data"]]}  # fmt: skip
        page = pages.Page("phi", "local Azure", served.endpoint, look)
        server = asyncio.create_task(serve(page, listening))
        async with browser(url) as tab:
            await tab.sees("tuned", "#model input", seconds=90)
            await tab.sees("Image for the next message", "#picture")
            await tab.choose("#picture input[type=file]", cat)
            await tab.until("!!document.querySelector('#picture img')")
            await tab.type("#ask textarea", "What is it?", enter=True)
            await tab.sees("one two three", "#talk")
            await tab.until("document.querySelectorAll('#talk .user img').length === 1")
            await tab.until("!document.querySelector('#picture img')")
            text, image = served.bodies[0]["messages"][0]["content"]
            assert text == {"type": "text", "text": "What is it?"}
            sent = image["image_url"]["url"].removeprefix("data:image/png;base64,")
            assert base64.b64decode(sent) == cat.read_bytes()
            await asyncio.sleep(1)
            await tab.picture(tmp_path / "image.png")
            await tab.type("#ask textarea", "And now?", enter=True)
            await tab.until("document.querySelectorAll('#talk .bot').length === 2")
            first, _, second = served.bodies[1]["messages"]
            assert first["content"] == [text, image]
            assert second["content"] == "And now?"
            for file, says in ((large, "larger than 6 MiB"), (other, "is no PNG, JPEG")):
                await tab.choose("#picture input[type=file]", file)
                await tab.sees(says, "#pace")
                await tab.until("!document.querySelector('#picture img')")
            await tab.type("#ask textarea", "This?", enter=True)
            await tab.until("document.querySelectorAll('#talk .bot').length === 3")
            assert served.bodies[2]["messages"][-1]["content"] == "This?"
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def test_nothing_can_be_uploaded_to_a_model_of_text():
    """Not past the page either: the address for uploads refuses."""
    from reconciler.chat import page as pages
    from reconciler.chat.server import serve

    async def look():
        return State(StateKind.READY, "ready")

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with Served() as served, aiohttp.ClientSession() as session:
        server = asyncio.create_task(
            serve(pages.Page("phi", "local Azure", served.endpoint, look), listening)
        )
        form = aiohttp.FormData()
        form.add_field("files", b"GIF89a", filename="a.gif")
        async with session.post(f"{url}/gradio_api/upload", data=form) as answer:
            assert (answer.status, await answer.text()) == (403, "The model takes no images.")
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)
