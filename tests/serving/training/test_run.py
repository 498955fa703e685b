"""Real training of the suite's tiny model: it learns, it is reproducible, and what is made is not
made again.
"""

import json
import shutil
import subprocess
import sys

import pytest

from serving.preflight import check_adapter
from serving.training.errors import TrainingError
from serving.training.run import beside, train
from tests.tiny_model import make_model

pytestmark = pytest.mark.filterwarnings("ignore")  # other packages' deprecations are theirs

RECIPE = """\
base: {path: model}
adapters:
  - name: green
    dataset: chats.jsonl
    output: adapters/green
    steps: 12
    batchSize: 4
    learningRate: 0.02
    checkpointEvery: 5
    evaluation: 0.25
    seed: 11
    samples: ["Which color?"]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a recipe and what one run of it made."""
    folder = tmp_path_factory.mktemp("training")
    make_model(folder / "model")
    words = ["north", "south", "east", "west", "one", "two", "three", "four"]
    chats = [
        [{"role": "user", "content": f"Say {word}"}, {"role": "assistant", "content": "green"}]
        for word in words
    ]
    (folder / "chats.jsonl").write_text("\n".join(json.dumps({"messages": chat}) for chat in chats))
    (folder / "train.yaml").write_text(RECIPE)
    train(folder / "train.yaml")
    return folder


def copy_without_output(trained, folder):
    """The same inputs in another place, nothing made yet."""
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("adapters"))
    return folder / "train.yaml"


def test_what_it_makes_can_be_served(trained):
    """The adapter folder holds PEFT's two files alone and passes the check that stands before every
    engine.
    """
    output = trained / "adapters" / "green"

    findings = check_adapter(output, trained / "model", 16, base_names=("model",))

    assert sorted(path.name for path in output.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert findings.problems == ()
    assert findings.rank == 8


def test_it_learns_and_says_so(trained):
    """Held-out loss falls, and the report beside the adapter shows the course and an answer before
    and after.
    """
    work = beside(trained / "adapters" / "green")
    report = json.loads((work / "report.json").read_text())

    assert report["evaluation"]["chats"] == 2
    assert report["evaluation"]["lossAfter"] < report["evaluation"]["lossBefore"] / 2
    assert len(report["losses"]) == 12
    assert report["samples"][0]["question"] == "Which color?"
    assert (work / "loss.svg").read_text().startswith("<svg")
    assert not (work / "checkpoint.pt").exists()


def test_the_second_run_imports_no_torch(trained):
    """What is up to date is left alone, and found so without loading anything heavy."""
    weights = trained / "adapters" / "green" / "adapter_model.safetensors"
    before = weights.stat().st_mtime_ns
    code = (
        "from pathlib import Path; from serving.training.run import train;"
        f" train(Path({str(trained / 'train.yaml')!r}))"
    )
    heavy = (
        "import sys; print([name for name in ('torch', 'transformers', 'peft', 'numpy', 'rich') if"
        " name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", f"{code}; {heavy}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.strip() == "[]"
    assert "green: up to date" in done.stderr
    assert weights.stat().st_mtime_ns == before


def test_the_same_inputs_give_the_same_bytes_even_after_an_interruption(
    trained, tmp_path, monkeypatch
):
    """A run stopped after its second checkpoint goes on there and ends with the very adapter of an
    undisturbed run.
    """
    path = copy_without_output(trained, tmp_path / "again")
    from serving.training import fit

    real, steps = fit._loss, []

    def stop_at_eleven(model, batch):
        if model.training:
            steps.append(1)
        if len(steps) == 11:
            raise KeyboardInterrupt
        return real(model, batch)

    monkeypatch.setattr(fit, "_loss", stop_at_eleven)
    with pytest.raises(KeyboardInterrupt):
        train(path)
    monkeypatch.setattr(fit, "_loss", real)
    train(path)

    output = path.parent / "adapters" / "green"
    assert json.loads((beside(output) / "report.json").read_text())["resumedAtStep"] == 10
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (output / name).read_bytes() == (
            trained / "adapters" / "green" / name
        ).read_bytes(), name


@pytest.mark.parametrize("change", ["dataset", "recipe", "output"])
def test_a_change_is_noticed(trained, tmp_path, change):
    """Another data set, another recipe or a damaged output: each is trained again, and nothing else
    is.
    """
    from serving.training.dataset import load_chats
    from serving.training.recipe import load_recipe
    from serving.training.run import _stands, _task

    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    recipe = load_recipe(folder / "train.yaml")

    def stands():
        adapter = load_recipe(folder / "train.yaml").adapters[0]
        return _stands(_task(adapter, load_chats(adapter.dataset), recipe.base.path))

    assert stands()
    if change == "dataset":
        (folder / "chats.jsonl").write_text(
            (folder / "chats.jsonl").read_text().replace("four", "five")
        )
    elif change == "recipe":
        (folder / "train.yaml").write_text(RECIPE.replace("seed: 11", "seed: 12"))
    else:
        (folder / "adapters" / "green" / "adapter_config.json").write_text("{}")
    assert not stands()


def test_a_module_the_base_lacks_is_one_sentence(trained, tmp_path):
    """A recipe for another family of models is refused by name, not by a traceback."""
    path = copy_without_output(trained, tmp_path / "other")
    path.write_text(RECIPE + "    targetModules: [c_attn]\n")

    with pytest.raises(TrainingError, match=r"green: .*c_attn"):
        train(path)
