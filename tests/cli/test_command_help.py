"""Help says in words, in one way for all commands, what a value is and what it is when left out."""

import re

import pytest

from reconciler.api.durations import seconds_of, spelt
from reconciler.cli.app import run
from reconciler.cli.command_help import describe
from reconciler.cli.durations import DURATION
from tests.docs.commands import commands

COMMANDS = dict(commands())
EVERY = [(name, each) for name, command in COMMANDS.items() for each in command.params]
NAME = re.compile(r"[A-Z][A-Z-]*")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_holds_no_notation_of_a_program(name, capsys):
    """No type names, no braces around what must be given, no limits as formulas, no unit left
    open.
    """
    assert run([*name.split(), "-h"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert not re.search(
        r"<\w+>|\{|\[default|\[env var|\[required|x>=|<=x|default \d+\.0[;)]", shown
    ), shown


@pytest.mark.parametrize(
    ("name", "parameter"), EVERY, ids=lambda each: each if isinstance(each, str) else each.name
)
def test_every_value_has_a_name_and_a_sentence(name, parameter):
    """The sentence names the default, the limits and the setting; each default is told once."""
    sentence = describe(parameter)
    assert sentence.endswith("."), sentence
    assert sentence.count("default") <= 1, sentence
    if parameter.param_type_name == "argument" or not parameter.is_flag:
        assert NAME.search(parameter.metavar), parameter.metavar
        assert not parameter.metavar.startswith("<")
    if parameter.envvar:
        assert f"setting {parameter.envvar}" in sentence
    if parameter.default not in (None, "", False):
        assert "default" in sentence, sentence


def test_an_option_means_the_same_everywhere():
    """-o is the format, -f the documents, -y the answer to a question, -w watching; `--timeout` is a
    length of time.
    """
    meanings = {}
    for _, parameter in EVERY:
        for flag in parameter.opts:
            if re.fullmatch(r"-\w|--timeout|--name", flag):
                long = max(parameter.opts, key=len)
                meanings.setdefault(flag, set()).add((parameter.metavar, long))
    assert meanings["--timeout"] == {(DURATION, "--timeout")}
    assert meanings["-o"] == {("FORMAT", "--output")}
    assert all(len(found) == 1 for found in meanings.values()), meanings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0.5s", 0.5)]
    + [(bad, None) for bad in ("", "s", "ten", "-1s", "1w", "1h30m", "1e9")],
)
def test_a_length_of_time_is_read_as_in_documents(text, seconds):
    """A number alone counts seconds."""
    assert seconds_of(text) == seconds
    if seconds is not None:
        assert seconds_of(spelt(seconds)) == seconds


@pytest.mark.parametrize(
    ("value", "said"),
    [("soon", "write 90s, 10m, 2h or 1d"), ("0", "the shortest is 1s"), ("1w", "write 90s")],
)
def test_a_length_of_time_that_cannot_be_used_is_refused(
    value, said, tmp_path, capsys, monkeypatch
):
    """With the forms that can; exit code 2, before anything is read."""
    monkeypatch.chdir(tmp_path)
    assert run(["up", "--once", "--timeout", value]) == 2
    assert said in capsys.readouterr().err
