"""`moorage adapter check`, as a person and as a script use it."""

import json

import pytest

from reconciler.cli.app import run
from tests.tiny_model import make_adapter, make_model


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture
def folder(tmp_path, model):
    return make_adapter(tmp_path / "red", "red", model=model)


def test_a_loadable_adapter_shows_its_facts(folder, model, capsys):
    """Rank, size and memory in one line, and exit code 0; without --base the line says what was not
    compared.
    """
    assert run(["adapter", "check", str(folder), "--base", str(model)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{folder}: loadable (rank 8, ")
    assert "--base" not in said
    assert run(["adapter", "check", str(folder), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["loadable"], told["rank"], told["problems"]) == (True, 8, [])
    assert (
        told["memoryBytes"] >= told["bytes"] // 2
    )  # float32 on disk, two bytes a value in the engine


@pytest.mark.parametrize(
    ("damage", "options", "sentence"),
    [
        (
            lambda f: (f / "adapter_config.json").write_text("{"),
            [],
            "adapter_config.json is not valid JSON",
        ),
        (lambda f: None, ["--max-rank", "1"], "rank 8 is higher than the engine's max-lora-rank 1"),
        (lambda f: None, ["--max-rank", "7"], "--max-rank must be one of 1, 8, 16"),
        (lambda f: None, ["--base", "/nowhere"], "/nowhere is no model folder"),
        (lambda f: None, ["-o", "xml"], "--output must be text or json"),
    ],
    ids=["broken", "rank beyond the engine", "no rank of vLLM", "no base", "no format"],
)
def test_what_is_wrong_ends_with_two(folder, damage, options, sentence, capsys):
    """One sentence and exit code 2, for adapters and for usage."""
    damage(folder)
    assert run(["adapter", "check", str(folder), *options]) == 2
    said = capsys.readouterr()
    assert sentence in said.out + said.err
