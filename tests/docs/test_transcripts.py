"""docs/transcripts.md is what the commands print."""

import re

import pytest

from tests.docs.transcripts import PAGE, page

# In a run, what is independent is told in any order.
CLOCK = re.compile(r"^12:00:00  ")


def blocks(text):
    """Title of the section and lines of each block, with lines that have a clock sorted."""
    for section in text.split("\n## ")[1:]:
        title = section.split("\n", 1)[0]
        for block in re.findall(r"```\n(.*?)\n```", section, re.DOTALL):
            lines = block.splitlines()
            told = sorted(line for line in lines if CLOCK.match(line))
            yield title, [line for line in lines if not CLOCK.match(line)], told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_shows_what_the_commands_print():
    """A first run, a change, a failed rollout, a rollback by hand and a quota problem, played
    again; `python -m tests.docs.transcripts` writes the page.
    """
    assert list(blocks(page())) == list(blocks(PAGE.read_text()))


def test_the_page_has_every_scene_and_nothing_of_one_machine():
    """The scenes are there, and no time, id or path of the machine that wrote them."""
    text = PAGE.read_text()
    titles = [title for title, _, _ in blocks(text)]
    assert len(dict.fromkeys(titles)) == 5
    assert set(re.findall(r"(?<!api-version=)\d{4}-\d\d-\d\d", text)) == {"2026-11-29"}
    assert set(re.findall(r"localhost:(\d+)", text)) == {"20443"}
    assert "/tmp" not in text
    assert re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-", text) == []
