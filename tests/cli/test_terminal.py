"""What others wrote never steers a terminal, whichever way it is printed."""

import io
import re
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.text import Text

import reconciler.cli
from reconciler.api.printable import clean
from reconciler.cli import app
from reconciler.cli.output.console import Console
from reconciler.cli.output.terminal import guarded

HOSTILE = "\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\r\x9b1A\u202e\u061cabc\ud800\x1b]52;c;eA==\x07"


def test_control_characters_are_spelt_out_and_colours_dropped():
    """Titles, clearing, the clipboard, carriage returns, C1, direction marks."""
    assert clean(HOSTILE) == (
        r"\x1b]0;title\x07\x1b[2Jred\x0d\x9b1A\u202e\u061cabc\ud800\x1b]52;c;eA==\x07"
    )
    for kept in ("plain", "tab\tnew\nline", "naïve — 日本語 🙂", "", "a\r\nb".replace("\r", "")):
        assert clean(kept) == kept


def test_a_manifest_full_of_escapes_is_shown_and_not_obeyed(tmp_path, capsys):
    """`validate` names the offending value; the terminal gets text."""
    file = tmp_path / "m.yaml"
    file.write_text(
        "apiVersion: moorage.dev/v1alpha1\nkind: InferenceService\nmetadata: {name: phi}\nspec:\n"
        '  model: {source: share://m}\n  workloadProfileName: "a\\e]0;x\\a\\e[2J"\n'
        '  "\\e[2Jkey": 1\n'
    )
    assert app.run(["validate", "-f", str(file)]) == 2
    printed = "".join(capsys.readouterr())
    assert "key" in printed
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", printed)


def test_rich_keeps_its_own_colours_and_loses_those_of_texts():
    """What is drawn is rich's; what is in it is cleaned."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="standard", width=200)
    console.print(f"[bold]{HOSTILE}[/]", highlight=False)
    written = stream.getvalue()
    assert written.startswith("\x1b[1m")
    assert set(re.findall(r"\x1b.", written)) == {"\x1b["}
    assert "\x1b[2J" not in written


def test_every_stream_is_guarded_while_a_command_runs(capsys):
    """print, sys.stderr and rich at once; afterwards all is as before."""
    before = sys.stdout
    with guarded():
        print("\x1b[2Jone")
        print("\x9b2Jtwo", file=sys.stderr)
        sys.stdout.writelines(["\x07three\n"])
        Console().print("four")
        assert sys.stdout.isatty() is False
    assert sys.stdout is before
    out, error = capsys.readouterr()
    assert (out, error) == ("\\x1b[2Jone\n\\x07three\nfour\n", "\\x9b2Jtwo\n")


@pytest.mark.parametrize(
    "file", sorted(Path(reconciler.cli.__file__).parent.rglob("*.py")), ids=lambda f: f.name
)
def test_no_command_goes_around_the_guard(file):
    """Rich is used through our Console, and nothing writes to a stream's bytes."""
    text = file.read_text()
    if file.name != "console.py":
        assert "rich.console import Console" not in text
    assert not re.search(r"stdout\.buffer|stderr\.buffer|os\.write\(1|__stdout__", text)


@pytest.mark.parametrize("screen", [False, True])
def test_what_moves_on_a_terminal_is_drawn_and_not_spelt_out(monkeypatch, screen):
    """Rich's `Live` stands before the guarded stream: its own sequences move the cursor, those in
    texts do nothing, also in what is printed meanwhile.
    """
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", stream)
    with guarded():
        console = Console(force_terminal=True, width=80, height=10)
        with Live(Text("one"), console=console, auto_refresh=False, screen=screen) as live:
            live.update(Text(f"two\n{HOSTILE}"), refresh=True)
            live.update(Text("three"), refresh=True)
            print(HOSTILE)
    written = stream.getvalue()
    before, _, _ = written.partition("two")
    assert r"\x1b" not in before
    assert "\x1b[2K" in written or screen
    assert "\x1b]0;title" not in written
    assert "\x1b[2J" not in written.replace("\x1b[?1049h\x1b[H", "")
