"""Text fits the place it is printed to and is never cut within a word."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.output.ages import age
from reconciler.cli.output.layout import Column, fit, hang, table

COLUMNS = (Column("name"), Column("ready"), Column("started", 2), Column("adapters", 1))
ROWS = (("phi--r549f460d1-w4278l59s", "yes", "3m ago", "support@3f9c0000aaaa, sales@77aa00001111"),)
WORDS = st.lists(st.text("abcdefghij-", min_size=1, max_size=30), min_size=1, max_size=20)


def test_a_pipe_gets_whole_values():
    """Every column and every cell in one line, however long."""
    heading, row = table(COLUMNS, ROWS, None)
    assert heading.split() == ["name", "ready", "started", "adapters"]
    for cell in ROWS[0]:
        assert cell in row


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (120, ["name", "ready", "started", "adapters"]),
        (80, ["name", "ready", "adapters"]),
        (60, ["name", "ready"]),
        (20, ["name", "ready"]),
    ],
)
def test_a_narrow_terminal_loses_the_least_important_column_first(width, kept):
    """What has rank 0 stays, also where the terminal is too narrow for it."""
    lines = table(COLUMNS, ROWS, width)
    assert lines[0].split() == kept if width > 20 else lines[0].split() == ["name"]
    assert ROWS[0][0] in "\n".join(lines)


def test_a_column_without_values_is_left_out():
    """A column that says nothing takes no room, but for those of rank 0."""
    assert table(COLUMNS, [("phi", "", "", "a@1")], None)[0].split() == [
        "name",
        "ready",
        "adapters",
    ]


@given(WORDS, st.integers(1, 40), st.integers(20, 140))
def test_no_line_is_cut_within_a_word(words, head, width):
    """All words are there in their order, and only one longer than the line goes beyond it."""
    text = " ".join(words)
    lines = hang("h" * head, text, width)
    shown = " ".join(lines).removeprefix("h" * head).split()
    assert "".join(shown) == "".join(words)
    assert all(word in words or word == "".join(words[:1]) for word in shown)
    for line in lines:
        assert len(line) <= max(width, 20 + max(map(len, words)) + head)
        assert line == line.rstrip()


def test_a_screen_that_is_not_high_enough_says_how_much_is_missing():
    """The first lines stay, because the verdict is among them."""
    from rich.text import Text

    lines = [Text(str(number)) for number in range(50)]
    shown = fit(lines, 10)
    assert [line.plain for line in shown[:9]] == [str(number) for number in range(9)]
    assert re.match(r"… 41 more lines", shown[9].plain)
    assert fit(lines, 50) == lines
    assert fit(lines, None) == lines


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172799, "47h"),
        (172800, "2d"),
        (86400 * 400, "400d"),
    ],
)
def test_ages_have_one_unit(seconds, shown):
    """The largest unit of which there are at least two."""
    assert age(seconds) == shown
