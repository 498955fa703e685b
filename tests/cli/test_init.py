"""`moorage init`: a first document for what lies in a folder, asked for what cannot be found."""

import json
import re

import pytest

from reconciler.api.manifest import load
from reconciler.cli.app import run
from reconciler.cli.train import say_what_to_paste
from tests import ai_toolkit
from tests.tiny_model import make_adapter, make_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model, an adapter of it and one that vLLM cannot load, as trainers leave them."""
    root = tmp_path / "My Phi"
    make_model(root / "models" / "tiny")
    make_adapter(root / "adapters" / "red", "red", model=root / "models" / "tiny")
    make_adapter(root / "adapters" / "bad", "blue", model=root / "models" / "tiny")
    (root / "adapters" / "bad" / "adapter_model.safetensors").write_bytes(b"")
    make_adapter(root / "runs" / "one", "blue", model=root / "models" / "tiny")
    monkeypatch.chdir(root)
    return root


def spec_of(folder):
    (loaded,) = load([folder / "moorage.yaml"]).documents
    return loaded.document


def test_a_folder_with_a_model_and_adapters_needs_no_answer(folder, capsys):
    """The model, every adapter that can be served, and a name from the folder; what is left out is
    named with the reason, and the next commands are told.
    """
    assert run(["init"]) == 0
    document = spec_of(folder)
    assert document.metadata.name == "my-phi"
    assert document.spec.model.source == "./models/tiny"
    assert [(each.name, each.source) for each in document.spec.adapters] == [
        ("red", "./adapters/red")
    ]
    said = capsys.readouterr().out
    assert "left out  adapters/bad: " in said
    assert "moorage up" in said
    assert run(["validate"]) == 0


def test_every_line_that_is_commented_out_is_valid(folder):
    """A person removes the `# ` and has a field that works."""
    assert run(["init"]) == 0
    file = folder / "moorage.yaml"
    lines = file.read_text().splitlines()
    optional = [line for line in lines if re.match(r"  # [a-z]+: [\[{]", line)]
    assert len(optional) == 3
    for line in optional:
        file.write_text(
            "\n".join(each.replace("# ", "", 1) if each == line else each for each in lines)
        )
        load([file])


def test_an_existing_document_is_kept(folder, capsys):
    """Exit code 2, and the file is as it was; --force replaces it."""
    (folder / "moorage.yaml").write_text("mine")
    assert run(["init"]) == 2
    assert (folder / "moorage.yaml").read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert run(["init", "--force"]) == 0


def test_what_cannot_be_found_is_named_without_a_terminal(tmp_path, monkeypatch, capsys):
    """An empty folder: the option for the model, exit code 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--name", "phi"]) == 2
    assert "--model SOURCE" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert run(["init", "--name", "phi", "--model", "share://models/phi"]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "Not A Name"], "cannot be a service's name"),
        (["--model", "./nowhere"], "does not exist"),
        (["--model", "hf://org/name"], "has no revision"),
        (["--adapter", "x=./nowhere"], "does not exist"),
        (["--location", "nowhere!"], "nowhere!"),
    ],
    ids=["name", "folder", "revision", "adapter", "region"],
)
def test_a_wrong_answer_is_refused_before_anything_is_written(folder, capsys, options, said):
    """Exit code 2 with what is wrong; no file and no trial is left."""
    assert run(["init", *options]) == 2
    assert said in capsys.readouterr().err
    assert not [path for path in folder.iterdir() if path.suffix == ".yaml"]


@pytest.mark.parametrize("typed", ["~/My Phi/models/tiny", "$HOME/My Phi/models/tiny"])
def test_the_home_folder_is_understood_at_a_question(folder, monkeypatch, typed):
    """No shell has seen what is typed there."""
    monkeypatch.setenv("HOME", str(folder.parent))
    assert run(["init", "--model", typed]) == 0
    assert spec_of(folder).spec.model.source == str(folder / "models" / "tiny")


def test_the_base_of_an_adapter_becomes_the_model(tmp_path, monkeypatch, capsys):
    """An adapter alone names a repository of Hugging Face; a note says that main moves."""
    base = make_model(tmp_path / "elsewhere")
    adapter = make_adapter(tmp_path / "phi" / "support", "red", model=base)
    config = adapter / "adapter_config.json"
    told = json.loads(config.read_text()) | {"base_model_name_or_path": "microsoft/phi-3-mini"}
    config.write_text(json.dumps(told))
    monkeypatch.chdir(tmp_path / "phi")
    assert run(["init", "--location", "westeurope", "--resource-group", "rg-phi"]) == 0
    documents = load([tmp_path / "phi" / "moorage.yaml"]).documents
    service, environment = documents[1].document, documents[0].document
    assert service.spec.model.source == "hf://microsoft/phi-3-mini@main"
    assert (environment.spec.location, environment.spec.resource_group) == ("westeurope", "rg-phi")
    assert "main moves" in capsys.readouterr().out


def test_the_weights_themselves_are_no_place_for_a_document(folder, capsys):
    """A document inside a model's folder would be published with it."""
    assert run(["init", "models/tiny"]) == 2
    assert "the folder around it" in capsys.readouterr().err


def test_an_ai_toolkit_project_is_sent_to_import(tmp_path, capsys):
    """`import` knows such a project better."""
    ai_toolkit.build(tmp_path / "project")
    assert run(["init", str(tmp_path / "project")]) == 2
    assert "moorage import" in capsys.readouterr().err


def test_training_ends_with_the_lines_to_paste(folder, capsys):
    """What no document names yet, relative to the document; nothing once it is there."""
    (folder / "train.yaml").write_text(
        "base: {path: models/tiny}\nadapters:\n  - {name: red, output: adapters/red}\n"
    )
    say_what_to_paste(folder / "train.yaml")
    assert "- {name: red, source: ./adapters/red}" in capsys.readouterr().out
    assert run(["init"]) == 0
    capsys.readouterr()
    say_what_to_paste(folder / "train.yaml")
    assert capsys.readouterr().out == ""
