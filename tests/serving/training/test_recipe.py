"""A recipe is wrong at one place, and says what would be right there."""

import pytest

from serving.training.errors import InputError
from serving.training.recipe import load_recipe

GOOD = """\
base:
  path: model
adapters:
  - name: pirate
    dataset: chats.jsonl
    output: adapters/pirate
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "chats.jsonl").write_text("")
    return tmp_path


def test_fills_in_what_is_left_out(folder):
    """Paths are made absolute from the recipe's folder; everything else has a default."""
    path = folder / "train.yaml"
    path.write_text(GOOD)

    recipe = load_recipe(path)

    assert recipe.base.path == folder / "model"
    assert recipe.adapters[0].output == folder / "adapters" / "pirate"
    assert recipe.adapters[0].rank == 8
    assert "q_proj" in recipe.adapters[0].target_modules


FAULTS = [
    # what is written, place, words of the message, why
    ("base: [", ":1:8", "not valid YAML", "YAML's own complaint, placed"),
    ("- a", ":1:1", "a recipe is a mapping", "a list is no recipe"),
    ("", ":1:1", "a recipe is a mapping", "an empty file is no recipe"),
    ("base: {path: model}\n", ":1:1", "adapters is missing", "nothing to train"),
    (
        GOOD + "    rnak: 8\n",
        ":7:5",
        "unknown key adapters.0.rnak; did you mean rank?",
        "a misspelt key is found",
    ),
    (GOOD + "    rank: eight\n", ":7:11", "adapters.0.rank", "a word where a number belongs"),
    (GOOD + "    rank: 0\n", ":7:11", "greater than or equal to 1 (got 0)", "no rank at all"),
    (
        GOOD + "    learningRate: 3\n",
        ":7:19",
        "less than 1 (got 3)",
        "a learning rate that cannot converge",
    ),
    (
        GOOD.replace("chats.jsonl", "nope.jsonl"),
        ":5:14",
        "no dataset",
        "a data set that is not there",
    ),
    (
        GOOD.replace("path: model", "path: nope"),
        ":2:9",
        "no model folder",
        "a base that is not there",
    ),
    (
        GOOD.replace("pirate\n    d", "Pirate!\n    d"),
        ":4:11",
        "match pattern",
        "a name nothing else would take",
    ),
    (
        GOOD + GOOD.partition("adapters:\n")[2],
        ":1:1",
        "two adapters have the name pirate",
        "names are how adapters are told apart",
    ),
    (
        GOOD.replace(
            "path: model", "path: model\n  gguf: {package: no-such-package, file: a.gguf}"
        ),
        ":3:9",
        "no-such-package",
        "a package that is not installed",
    ),
]


@pytest.mark.parametrize(("text", "place", "words", "reason"), FAULTS)
def test_refuses_with_the_place(folder, text, place, words, reason):
    """One clear error at file:line:column."""
    path = folder / "train.yaml"
    path.write_text(text)

    with pytest.raises(InputError) as caught:
        load_recipe(path)

    assert str(caught.value).startswith(f"{path}{place}: "), reason
    assert words in str(caught.value), reason


def test_a_missing_recipe_is_one_sentence(tmp_path):
    """No traceback for a file that is not there."""
    with pytest.raises(InputError, match=r"train.yaml: no such file"):
        load_recipe(tmp_path / "train.yaml")
