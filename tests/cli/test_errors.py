"""What goes wrong is said in words: no number of the operating system, no traceback, no second line
that says the same.
"""

from collections import Counter

import pytest

from reconciler.api.reasons import Reason
from reconciler.cli.app import _with_remedy, run
from reconciler.engine.errors import TransportFailed, WaitingForHuman

DOCUMENT = "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\nspec: {}\n"
PLACES = {
    "nothing": "nowhere/x",
    "a folder": "folder",
    "a file": "file/below",
    "too long": "x" * 300,
    "a link to nothing": "dangling",
    "an unset variable": "$NO_SUCH_VARIABLE/x",
    "an unknown user": "~no-such-user/x",
}
COMMANDS = {
    "validate": ["validate", "-f", "PATH"],
    "plan": ["plan", "-f", "PATH"],
    "up": ["up", "--once", "-f", "PATH"],
    "down": ["down", "-y", "-f", "PATH"],
    "export": ["export", "arm", "-f", "PATH"],
    "state": ["up", "--once", "--state-dir", "/proc/PATH"],
    "init": ["init", "PATH"],
    "train": ["train", "PATH"],
    "import": ["import", "PATH"],
    "check": ["adapter", "check", "PATH"],
    "diff": ["diff", "container-app", "--asked", "PATH", "--found", "PATH"],
    "faults": ["local-azure", "faults", "load", "PATH"],
    "doctor": ["doctor", "-f", "PATH"],
}
SUBPROCESSES = ("train", "faults")  # each takes a second
CASES = [
    (command, place)
    for command in COMMANDS
    for place in PLACES
    if command not in SUBPROCESSES or place == "nothing"
]


@pytest.mark.parametrize(("command", "place"), CASES)
def test_a_bad_path_is_told_in_words(command, place, tmp_path, monkeypatch, capfd):
    """Whatever the path is and whichever command gets it: a sentence on standard error, told once,
    with an exit code that is not 0.
    """
    monkeypatch.delenv("MOORAGE_STATE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moorage.yaml").write_text(DOCUMENT)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "dangling").symlink_to("nowhere")
    arguments = [each.replace("PATH", PLACES[place]) for each in COMMANDS[command]]
    assert run(arguments) != 0
    printed = capfd.readouterr()
    said = printed.err + printed.out
    assert said.strip()
    assert "Errno" not in said
    assert "Traceback" not in said
    assert "met an error" not in said
    lines = Counter(line.strip() for line in said.splitlines() if line.strip())
    assert [line for line, count in lines.items() if count > 1] == []
    assert not (tmp_path / ".moorage").exists()


def test_what_azure_refused_ends_with_what_to_do():
    """Once: some messages say it already."""
    lost = TransportFailed(Reason.AZURE_UNREACHABLE, "Connection reset by peer")
    assert _with_remedy(lost) == (
        f"AzureUnreachable: Connection reset by peer\nwhat to do: {Reason.AZURE_UNREACHABLE.remedy}"
    )
    told = WaitingForHuman(Reason.SIGN_IN_FAILED, Reason.SIGN_IN_FAILED.remedy)
    assert "what to do" not in _with_remedy(told)
