"""The pictures of the pages: each is described for those who do not see it, loads nothing, and has
the numbers that the text beside it explains.
"""

import re
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.browser import PROGRAM
from tests.docs.page_picture import draw

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
SVG = "{http://www.w3.org/2000/svg}"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_picture_is_there_and_described(page):
    """The text in its place says what is seen; that of a drawing is the title in the drawing."""
    for text, target in SHOWN.findall(page.read_text()):
        file = page.parent / target
        assert file.is_file()
        assert len(text.split()) >= 3, text
        if file.suffix == ".svg":
            drawing = ET.parse(file).getroot()
            assert drawing.findtext(f"{SVG}title") == text
            assert len(drawing.findtext(f"{SVG}desc").split()) > 10


@pytest.mark.parametrize("file", sorted(DOCS.glob("*.svg")), ids=lambda file: file.name)
def test_a_drawing_needs_nothing_from_elsewhere(file):
    """No script, no picture and no font of another place; its box is as wide as it says."""
    text = file.read_text()
    assert not re.search(r"<script|<image|xlink:href|href=\"http|url\(http|@import", text)
    drawing = ET.fromstring(text)
    left, top, wide, high = map(float, drawing.get("viewBox").split())
    assert (left, top) == (0, 0)
    for each in drawing.iter(f"{SVG}text"):
        assert 0 <= float(each.get("x", 0)) <= wide
        assert 0 <= float(each.get("y", 0)) <= high


def test_the_steps_of_the_page_are_the_numbers_of_the_picture():
    """docs/how-it-works.md explains each number of the drawing, in its order."""
    drawing = ET.parse(DOCS / "flow.svg").getroot()
    numbers = [
        each.text for each in drawing.iter(f"{SVG}text") if "num" in (each.get("class") or "")
    ]
    page = (DOCS / "how-it-works.md").read_text()
    steps = re.findall(r"^(\d+)\. \*\*", page, re.MULTILINE)
    assert sorted(numbers, key=int) == steps


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")
async def test_the_picture_of_the_page_is_of_the_present_page(tmp_path):
    """Drawn again it is as wide and, but for the fonts of a machine, as high: no part is missing."""
    (wide, high), (wide_now, high_now) = (
        _size(DOCS / "page.png"),
        await _drawn(tmp_path / "now.png"),
    )
    assert wide == wide_now
    assert abs(high - high_now) < 0.1 * high, "python -m tests.docs.page_picture makes it anew"


async def _drawn(file):
    await draw(file)
    return _size(file)


def _size(file):
    """Width and height, which stand at the same place in each PNG."""
    return struct.unpack(">II", file.read_bytes()[16:24])
