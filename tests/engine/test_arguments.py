"""Command lines are compared word by word and flag by flag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.arguments import by_flag, in_parts
from reconciler.engine.external import Change

CASES = [
    (
        ["serve", "--port", "80", "--len=1"],
        ["serve", "--port", "81", "--len=1"],
        ["args[--port]: 80 -> 81"],
        "a value after its flag",
    ),
    (["--len=1"], ["--len", "2"], ["args[--len]: 1 -> 2"], "a value behind an equals sign"),
    (["--a"], ["--a", "--b"], ["args[--b]: (unset) -> True"], "a flag without a value"),
    (["--a", "1"], ["--b", "1"], ["args[--a]: 1 -> (unset)", "args[--b]: (unset) -> 1"], "others"),
    (["--m", "x", "y"], ["--m", "x"], ["args[--m]: x y -> x"], "a flag with several values"),
    (["--m=x", "--m=y"], ["--m=x"], ["args[--m]: x y -> x"], "a flag that is given twice"),
    (["one"], ["two"], ["args[0]: one -> two"], "a word"),
    (["run", "80"], ["run", "81", "a b"], ["args[1:]: 80 -> 81 'a b'"], "another number of words"),
    (["run"], ["run", "fast"], ["args[1:]: (unset) -> fast"], "one more word"),
    (["a", "--b", "1"], ["c", "--b", "2"], ["args[0]: a -> c", "args[--b]: 1 -> 2"], "both"),
    (
        ["--a", "1", "--b", "2"],
        ["--b", "2", "--a", "1"],
        ["args[--b].place: after --a -> first"],
        "another order",
    ),
    (
        ["--a", "--b", "--c", "--d", "4"],
        ["--a", "--c", "--d", "5", "--b"],
        ["args[--d]: 4 -> 5", "args[--b].place: after --a -> after --d"],
        "another order and another value",
    ),
    (
        ["--a=1", "--b", "--a=2"],
        ["--a=1", "--a=2", "--b"],
        ["args[--a].place: after --b -> after --a"],
        "between two of a kind",
    ),
    (["--a=1"], ["--a", "1"], ["args[--a]: --a=1 -> --a 1"], "another spelling"),
    (["--a", "b c"], ["--a", "b", "c"], ["args[--a]: --a 'b c' -> --a b c"], "words for a text"),
    (None, ["run", "--a"], ["args[0:]: (unset) -> run", "args[--a]: (unset) -> True"], "none yet"),
    (["--a", "1"], None, ["args[--a]: 1 -> (unset)"], "none any more"),
]


@pytest.mark.parametrize(("before", "after", "shown", "reason"), CASES, ids=[c[3] for c in CASES])
def test_each_flag_that_differs_is_a_line(before, after, shown, reason):
    """And each word before the flags, and each flag that stands elsewhere."""
    path = "properties.template.containers[app].args"
    lines = [str(each) for each in by_flag(Change(path, before, after))]
    assert lines == [f"properties.template.containers[app].{each}" for each in shown], reason


WORDS = st.sampled_from(["run", "1", "2", "--a", "--b", "--c", "--a=1", "--b=", "--b=2 3", "-v"])


@given(st.lists(WORDS, max_size=7), st.lists(WORDS, max_size=7))
def test_no_difference_between_two_command_lines_is_hidden(old, new):
    """Two command lines that differ have a line with two values that differ, or are shown whole."""
    found = by_flag(Change("x.args", old, new))
    assert any(each.before != each.after for each in found) == (old != new)
    assert all(each.path.startswith("x.args") for each in found)


def test_an_entry_that_comes_is_read_field_by_field():
    """As one value, cut to a line, it would hide its end."""
    entry = {"name": "A", "value": "x" * 60}
    assert [str(each) for each in in_parts(Change("env[A]", None, entry))] == [
        f"env[A].value: (unset) -> {'x' * 60}"
    ]
    assert [each.path for each in in_parts(Change("x.args", ["--a"], ["--b"]))] == [
        "x.args[--a]",
        "x.args[--b]",
    ]
    assert [each.path for each in in_parts(Change("traffic", {"a": 1}, {"b": 1}))] == ["traffic"]


def test_other_lists_are_shown_whole():
    """Only arguments and commands have flags."""
    change = Change("zones", ["--a"], ["--b"])
    assert by_flag(change) == (change,)


def test_two_long_values_are_cut_where_they_differ():
    """The first difference is to be seen, however long what they have in common is."""
    common = "x" * 200
    shown = str(Change("args", f"{common} --port 80", f"{common} --port 81"))
    assert shown == "args: ...xxx --port 80 -> ...xxx --port 81"
    assert len(str(Change("a", "b" * 500, "c" * 500))) < 150
