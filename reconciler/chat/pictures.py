"""An image that a person adds to a message, bounded and as the OpenAI API takes it. The page offers
it where the service says that its model takes images.
"""

from __future__ import annotations

import base64
from abc import ABCMeta
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

LARGEST = 6 << 20  # bytes of one image
# Bytes of a conversation's images, because each question sends all of them again. A service takes
# as much in one request unless its document says otherwise.
TOGETHER = 8 << 20
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


class PictureError(Exception):
    """An image that is not sent; the message is for the person at the page."""


def _path_of(_: Any, payload: Any) -> str | None:
    """The path of the image that a person chose."""
    return None if payload is None else str(payload.path)


# Gradio's own reader opens the file, and says only "Error" of one that is broken. A class of its
# own, because Gradio makes components anew from their class; made past Gradio's metaclass, which
# would write a stub file beside this module. In the browser it is Gradio's Image (`is_template`).
ImageBox: Any = ABCMeta.__new__(
    type(gr.Image),
    "ImageBox",
    (gr.Image,),
    {"__module__": __name__, "is_template": True, "preprocess": _path_of},
)


def data_url(path: str, others: Mapping[str, str]) -> str:
    """The image as a `data:` address. `others` are the images that the conversation has already.

    Raises:
        PictureError: it is no image that models take, or it is too large.
    """
    from PIL import Image

    content = Path(path).read_bytes()
    if len(content) > LARGEST:
        raise PictureError(f"the image is larger than {_mib(LARGEST)}")
    try:
        with Image.open(path, formats=FORMATS) as image:  # reads the head alone, no pixels
            kind = Image.MIME[str(image.format)]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise PictureError("the file is no PNG, JPEG, WebP or GIF image") from None
    url = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    # Base64 has four letters for three bytes.
    if (sum(map(len, others.values())) + len(url)) * 3 // 4 > TOGETHER:
        raise PictureError(
            f"the images of a conversation may have {_mib(TOGETHER)} together; start a new one"
        )
    return url


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
