"""`moorage role` writes the role that the deploy files have, and doctor's commands make it."""

import json
import shlex

import pytest

from reconciler.cli.app import run
from reconciler.cli.role import commands
from tests.e2e.ground import ROOT

MINE = "00000000-0000-0000-0000-00000000abcd"
KEPT = ROOT / "infra" / "deploy" / "role-definition.json"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    monkeypatch.delenv("MOORAGE_SUBSCRIPTION_ID", raising=False)


def test_the_file_of_the_repository_is_what_the_command_prints(capsys):
    """Without a subscription it says that one is to be filled in, beside the JSON."""
    assert run(["role"]) == 0
    printed = capsys.readouterr()
    assert printed.out == KEPT.read_text()
    assert "AssignableScopes" in printed.err


@pytest.mark.parametrize("by", ["option", "variable"])
def test_the_role_can_be_assigned_in_the_subscription_that_is_named(by, capsys, monkeypatch):
    """By the option or by the setting."""
    if by == "variable":
        monkeypatch.setenv("MOORAGE_SUBSCRIPTION_ID", MINE)
    assert run(["role", *(["--subscription", MINE] if by == "option" else [])]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["AssignableScopes"] == [f"/subscriptions/{MINE}"]
    assert not printed.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--subscription", "mine"], 2, "is a GUID"),
        (["--out", "/nowhere/role.json"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_clear_error(arguments, code, said, capsys):
    """With the exit code of its kind."""
    assert run(["role", *arguments]) == code
    assert said in capsys.readouterr().err


def test_the_first_command_of_doctor_writes_the_file_of_the_second(tmp_path, monkeypatch, capsys):
    """It needs no file of the repository, which an installed Moorage does not have."""
    monkeypatch.chdir(tmp_path)
    first, second, third = commands(MINE, "")
    assert run(shlex.split(first)[1:]) == 0
    role = json.loads((tmp_path / shlex.split(second)[-1]).read_text())
    assert role["Name"] == shlex.split(third)[shlex.split(third).index("--role") + 1]
    assert "CLIENT_ID" in third
