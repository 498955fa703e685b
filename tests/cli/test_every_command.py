"""What every command promises to the eye: nothing cut within a word at any width, whole values in a
pipe, no control sequence where no terminal reads, words in place of error numbers, and exit codes
that the documentation lists.
"""

import re
import sys
from pathlib import Path

import pytest

from reconciler.cli.app import run
from reconciler.cli.exits import Exit
from tests.cli.test_json_output import DOCUMENT, NAMES, arguments_of
from tests.web.worlds import World

STARTS = {"chat", "local-azure start", "train"}  # they need more than a folder, or leave a process
CODES = {int(code) for code in Exit}
AGE = re.compile(r"\(?\d+[smhd](\)|,)?|ago|[\d:TZ-]{6,}Z?")
STATES = (
    "status",
    "status phi",
    "status crashes Environment/default",
    "status held steps waits",
    "status nobody",
    "events",
    "events phi",
    "history phi",
    "adapter list",
    "explain RolledBack",
    "explain Azure:ScopeLocked",
    "wait phi",
    "rollback phi",
    "pause phi",
    "reconcile phi",
    "promote steps",
    "approve -y",
    "validate",
    "wait crashes",
    "wait phi --for Nonsense",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a document and a state in which something serves, waits, fails and is held."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))
    Path("moorage.yaml").write_text(DOCUMENT)
    folder = tmp_path / "state" / "daemon" / "local"
    folder.mkdir(parents=True)
    world = World(folder / "state.db")
    for name, state in (("phi", "serves"), ("waits", "waits"), ("steps", "steps")):
        world.service(name, state)
    world.service("held", "held")
    world.service("crashes", "fails")
    world.store.close()


def whole_words(text):
    return re.sub(r"(?<=\w-)\n\s+", "", text).split()


def printed(line, capsys, monkeypatch, width):
    """The exit code and what a terminal of that width shows; a pipe for None."""
    capsys.readouterr()
    with monkeypatch.context() as patch:
        if width:
            patch.setenv("COLUMNS", str(width))
            for stream in (sys.stdout, sys.stderr):
                patch.setattr(stream, "isatty", lambda: True)
        code = run(line.split() if isinstance(line, str) else line)
    shown = capsys.readouterr()
    return code, shown.out + shown.err


@pytest.mark.parametrize("line", STATES)
def test_a_line_breaks_between_words_alone(line, place, capsys, monkeypatch):
    """At 60, 80 and 120 columns every word is one that a pipe gets as well, and only a single long
    word goes beyond the edge.
    """
    _, whole = printed(line, capsys, monkeypatch, None)
    assert whole
    assert "\x1b" not in whole
    words = set(whole.split())
    for width in (60, 80, 120):
        _, shown = printed(line, capsys, monkeypatch, width)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
        strange = {each for each in plain.split() if each not in words and not AGE.fullmatch(each)}
        assert strange == set(), (width, plain)
        for row in plain.splitlines():
            assert len(row) <= width or max(map(len, row.split())) > width - 30, (width, row)


@pytest.mark.parametrize("line", STATES)
def test_no_colour_leaves_plain_text_on_a_terminal(line, place, capsys, monkeypatch):
    """NO_COLOR: no control sequence at all."""
    monkeypatch.setenv("NO_COLOR", "1")
    _, shown = printed(line, capsys, monkeypatch, 80)
    assert "\x1b" not in shown


@pytest.mark.parametrize("name", sorted(NAMES.keys() - STARTS))
def test_an_error_is_a_sentence(name, tmp_path, capsys, monkeypatch):
    """In an empty folder, and with a file that is not there: words, a code that the documentation
    has, no number of an error, no trace, no colour; broken between words on a narrow terminal.
    """
    monkeypatch.delenv("MOORAGE_STATE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    command = NAMES[name]
    lines = [arguments_of(name)]
    if any("--file" in getattr(each, "opts", ()) for each in command.params):
        lines.append([*arguments_of(name), "-f", "no such file.yaml"])
    for line in lines:
        code, whole = printed(line, capsys, monkeypatch, None)
        assert code in CODES
        assert not re.search(r"\[Errno|Traceback|\x1b|Error\(|<class", whole), whole
        if code == 0 or "Usage:" in whole:
            continue
        _, narrow = printed(line, capsys, monkeypatch, 60)
        assert narrow.split() == whole.split()
        assert all(len(row) <= 60 or " " not in row.strip() for row in narrow.splitlines()), narrow


@pytest.mark.parametrize("name", sorted(NAMES))
def test_help_fits_a_narrow_terminal(name, capsys, monkeypatch):
    """The help of every command at 60 columns has the words that it has at 120; a line may end after
    a hyphen.
    """
    _, wide = printed([*name.split(), "-h"], capsys, monkeypatch, 120)
    code, narrow = printed([*name.split(), "-h"], capsys, monkeypatch, 60)
    assert code == 0
    assert whole_words(narrow) == whole_words(wide)
    assert all(len(row) <= 60 or len(row.split()) == 1 for row in narrow.splitlines()), narrow
