"""The contract of `-o json`: every command has it or a reason, and prints one value in one envelope,
also when it fails, with the exit code that it has without.
"""

import json
from pathlib import Path

import pytest

from reconciler.cli.app import run
from reconciler.cli.output.envelope import wants_json
from tests.docs.commands import commands
from tests.web.worlds import World

PAGE = (Path(__file__).parents[2] / "docs" / "status.md").read_text()
ENVELOPE = ["apiVersion", "kind", "target", "set"]
DOCUMENT = "apiVersion: moorage.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\nspec: {}\n"
STARTS = ("local-azure start",)  # it would leave a process
WITHOUT = {
    "up",
    "chat",
    "train",
    "diagnose",
    "schema",
    "role",
    "completion",
    "provision",
    "deploy",
    "export arm",
}


def has_json(command):
    return any(
        "--output" in getattr(each, "opts", ()) and each.metavar == "FORMAT"
        for each in command.params
    )


NAMES = dict(commands())
ANSWERING = [name for name, command in NAMES.items() if has_json(command) and name not in STARTS]


def arguments_of(name):
    """The command with a word for each argument that it must have."""
    needed = [p for p in NAMES[name].params if p.param_type_name == "argument" and p.required]
    return [*name.split(), *("nothing" for _ in needed)]


def of_one_value(text):
    """The one JSON value in `text`, with the envelope and no colour."""
    assert "\x1b" not in text
    value = json.loads(text)
    assert list(value)[:4] == ENVELOPE
    assert value["apiVersion"] == "moorage.dev/v1alpha1"
    return value


def test_each_command_has_json_or_a_reason():
    """The commands without are those of the page's table, with their reasons."""
    without = {name for name, command in NAMES.items() if not has_json(command)}
    assert without == WITHOUT
    rows = [line for line in PAGE.splitlines() if line.startswith("| `moorage ")]
    told = {name for name in without if any(f"`moorage {name}`" in row for row in rows)}
    assert told == without


def test_each_kind_of_value_is_named_on_the_page():
    """The page lists every `kind`, so that a program can tell values apart."""
    import ast

    package = Path(__file__).parents[2] / "reconciler" / "cli"
    kinds = {
        node.args[0].value
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("print_value", "envelope")
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(kinds) > 15
    assert {kind for kind in kinds if f"`{kind}`" not in PAGE} == set()


@pytest.mark.parametrize("name", ANSWERING)
def test_an_error_is_a_value_too(name, tmp_path, monkeypatch, capfd):
    """In a folder without anything: the same exit code as for a person, the sentence on standard
    error, and for a program the same sentence on standard output.
    """
    monkeypatch.delenv("MOORAGE_STATE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    plain = run(arguments_of(name))
    said = capfd.readouterr().err
    code = run([*arguments_of(name), "-o", "json"])
    printed = capfd.readouterr()
    value = of_one_value(printed.out)

    assert code == plain
    if code and name != "adapter check":  # what is wrong is its answer
        assert value["kind"] == "Error"
        assert value["exitCode"] == code
        assert value["message"].strip() in printed.err
        assert printed.err == said


@pytest.mark.parametrize(
    "line",
    ["status --nonsense -o json", "approve -ojson --what", "plan --output=json a b", "-o json"],
)
def test_a_wrong_command_line_is_a_value(line, capfd):
    """The error of a command line that cannot be read is JSON as well, with exit code 2."""
    assert run(line.split()) == 2
    value = of_one_value(capfd.readouterr().out)
    assert (value["kind"], value["exitCode"]) == ("Error", 2)


def test_a_word_after_two_dashes_is_no_wish_for_json():
    """Only an option asks for JSON."""
    assert wants_json(["import", ".", "-o", "json"])
    assert not wants_json(["explain", "--", "-o", "json"])
    assert wants_json(["adapter", "list", "-o", "json"])


def test_an_invalid_document_has_its_places(tmp_path, monkeypatch, capfd):
    """Each problem has its file, line and column as fields."""
    monkeypatch.chdir(tmp_path)
    Path("moorage.yaml").write_text(DOCUMENT.replace("spec: {}", "spec: {regoin: x}"))
    assert run(["validate", "-o", "json"]) == 2
    value = of_one_value(capfd.readouterr().out)
    (problem,) = value["problems"]
    assert (problem["file"], problem["line"], problem["column"]) == ("moorage.yaml", 4, 8)
    assert "regoin" in problem["message"]


DONE = {
    "validate": ("Validation", "documents"),
    "explain RolledBack": ("Explanation", "remedy"),
    "status": ("Status", "documents"),
    "events": ("EventList", "events"),
    "history phi": ("History", "generations"),
    "adapter list": ("AdapterList", "adapters"),
    "wait phi": ("Wait", "documents"),
    "rollback phi": ("Order", "revision"),
    "pause phi": ("Order", "document"),
    "reconcile phi": ("Order", "daemon"),
    "promote steps": ("Order", "trafficWeight"),
    "approve -y": ("Approval", "approved"),
    "local-azure status": ("LocalAzure", "running"),
    "local-azure stop": ("LocalAzure", "stopped"),
    "local-azure faults list": ("FaultList", "seed"),
}


@pytest.mark.parametrize("line", DONE)
def test_each_command_answers_in_the_envelope(line, tmp_path, monkeypatch, capfd):
    """What a command did or found, of a state as a daemon leaves it; nothing else is printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path / "state"))
    Path("moorage.yaml").write_text(DOCUMENT)
    folder = tmp_path / "state" / "daemon" / "local"
    folder.mkdir(parents=True)
    world = World(folder / "state.db")
    world.service("phi")
    world.service("waits", "waits")
    world.service("steps", "steps")
    world.store.close()
    kind, field = DONE[line]

    assert run([*line.split(), "-o", "json"]) == 0
    printed = capfd.readouterr()
    value = of_one_value(printed.out)
    assert value["kind"] == kind
    assert value[field] or value[field] in (False, 0)
    assert printed.err == ""


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("rollback nothing", "local Azure"),
        ("status --nonsense", "local Azure"),
        ("explain Nonsense", None),
        ("status --target azure", None),
        ("local-azure faults add Nonsense", "local Azure"),
    ],
)
def test_an_error_names_what_the_command_speaks_of(line, target, tmp_path, monkeypatch, capfd):
    """The target that the command line means; none where the command has none, or the settings name
    no subscription.
    """
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("MOORAGE_SUBSCRIPTION_ID", raising=False)
    assert run([*line.split(), "-o", "json"])
    assert of_one_value(capfd.readouterr().out)["target"] == target


def test_no_question_is_asked_of_a_program(tmp_path, monkeypatch, capfd):
    """Without -y nothing is approved, and the value says so with exit code 4."""
    monkeypatch.setenv("MOORAGE_STATE_DIR", str(tmp_path))
    folder = tmp_path / "daemon" / "local"
    folder.mkdir(parents=True)
    world = World(folder / "state.db")
    world.service("waits", "waits")
    world.store.close()
    assert run(["approve", "-o", "json"]) == 4
    assert of_one_value(capfd.readouterr().out)["exitCode"] == 4
