"""Adapters in local folders are judged when the file is saved, at the line that names them."""

import json
import math

import pytest

from reconciler.api.adapters import unfit
from reconciler.api.manifest import ManifestError
from reconciler.cli.app import run


def safetensors(path, shapes):
    """A weights file of ones."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0\0\x80\x3f" * (offset // 4))


def adapter(folder, *, rank=8, width=16, base="org/tiny"):
    folder.mkdir(exist_ok=True, parents=True)
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": base,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    safetensors(
        folder / "adapter_model.safetensors",
        {f"{module}.lora_A.weight": [rank, width], f"{module}.lora_B.weight": [width, rank]},
    )


@pytest.fixture
def service(manifest):
    """A text with a local base of width 16, one adapter, and flags."""
    model = manifest.path / "models" / "phi"
    (model / "config.json").write_text(json.dumps({"hidden_size": 16, "num_hidden_layers": 1}))
    safetensors(model / "model.safetensors", {"model.layers.0.self_attn.q_proj.weight": [16, 16]})

    def text(flags="{}", model="./models/phi"):
        return (
            "kind: InferenceService\nmetadata: {name: phi}\nspec:\n  model: {source:"
            f" {model}}}\n  engine: {{args: {flags}}}\n  adapters:\n    - name: a\n      source:"
            " ./adapters/a\n"
        )

    return text


def test_a_fitting_adapter_is_fine(manifest, service):
    """Shapes, rank and layers agree."""
    adapter(manifest.path / "adapters" / "a")
    assert manifest.load(service("{max-lora-rank: 8}")).folders == {
        manifest.path / "models/phi",
        manifest.path / "adapters/a",
    }


def test_what_a_trainer_left_in_the_folder_is_said_and_not_published(manifest, service, capsys):
    """`validate` names it once; the README that peft writes beside every adapter is not worth a
    word.
    """
    folder = manifest.path / "adapters" / "a"
    adapter(folder, base=None)
    (folder / "README.md").write_text("# an adapter")
    file = manifest.path / "m.yaml"
    file.write_text(service())
    assert run(["validate", "-f", str(file)]) == 0
    assert "note:" not in capsys.readouterr().out
    (folder / "optimizer.pt").write_bytes(b"state")
    (folder / "checkpoint-7").mkdir()
    assert run(["validate", "-f", str(file)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "note:" in line]
    assert told == [
        "  note: adapter 'a': only adapter_config.json and adapter_model.safetensors are published;"
        " left out: checkpoint-7, optimizer.pt"
    ]


def test_an_adapter_that_names_another_base_is_noted(manifest, service, capsys):
    """Its shapes fit, so it is served; but its answers may be rubbish, and only its name tells."""
    folder = manifest.path / "adapters" / "a"
    adapter(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    file = manifest.path / "m.yaml"
    file.write_text(service())
    for name, noted in (("org/Phi", False), ("org/qwen", True)):
        text = json.dumps({**config, "base_model_name_or_path": name})
        (folder / "adapter_config.json").write_text(text)
        assert run(["validate", "-f", str(file)]) == 0
        assert ("trained on 'org/qwen'" in capsys.readouterr().out) is noted


def test_a_cooldown_in_which_no_model_can_be_loaded(manifest, service, capsys):
    """It is noted where the last replica may stop, because Azure counts from the replica's start."""
    adapter(manifest.path / "adapters" / "a")
    file = manifest.path / "m.yaml"
    for scale, noted in (
        ("{cooldownPeriod: 60}", True),
        ("{cooldownPeriod: 600}", False),
        ("{minReplicas: 1, cooldownPeriod: 60}", False),
    ):
        file.write_text(f"{service().rstrip()}\n  scale: {scale}\n")
        assert run(["validate", "-f", str(file)]) == 0
        assert ("counts the 60 s from the start" in capsys.readouterr().out) is noted


def test_an_adapter_of_another_base_model(manifest, service):
    """vLLM would take it and serve garbage."""
    adapter(manifest.path / "adapters" / "a", width=32)
    (problem,) = manifest.problems(service())
    assert problem.startswith("m.yaml:8:15: adapter 'a' cannot be served: ")
    assert "made for another base model" in problem
    assert problem.endswith("; the model is ./models/phi")


def test_an_adapter_that_cannot_be_served_refuses_no_document(manifest, service, capsys):
    """The documents are taken without it, and it is named at its line; `validate` ends with 2."""
    adapter(manifest.path / "adapters" / "a", width=32)
    found = manifest.load(service())
    assert [one.document.metadata.name for one in found.documents] == ["phi"]
    (fault,) = found.faults
    assert (fault.service, fault.folder) == ("phi", manifest.path / "adapters" / "a")
    assert run(["validate", "-f", str(manifest.path / "m.yaml")]) == 2
    said = capsys.readouterr()
    assert f"{manifest.path}/m.yaml:8:15: adapter 'a' cannot be served: " in said.err
    assert "valid" not in said.out


@pytest.mark.parametrize(
    ("architecture", "takes"), [("GPT2LMHeadModel", False), ("Qwen2ForCausalLM", True)]
)
def test_a_model_that_takes_no_lora_at_all_is_known(manifest, service, architecture, takes):
    """VLLM does not start for it with LoRA switched on."""
    adapter(manifest.path / "adapters" / "a", width=32)
    config = {"hidden_size": 16, "num_hidden_layers": 1, "architectures": [architecture]}
    (manifest.path / "models/phi/config.json").write_text(json.dumps(config))
    found = manifest.load(service())
    assert found.faults
    assert unfit(found.documents[0], "it does not fit").takes_lora is takes


def test_all_that_is_wrong_with_a_save_is_told_at_once(manifest, service):
    """A save that is refused for something else names the adapter too."""
    adapter(manifest.path / "adapters" / "a", width=32)
    more = "    - {name: b, source: ./adapters/nowhere}\n"
    with pytest.raises(ManifestError) as refused:
        manifest.load(service() + more)
    assert len(refused.value.problems) == 2


def test_a_rank_beyond_the_engine(manifest, service):
    """The hint names the flag."""
    adapter(manifest.path / "adapters" / "a", rank=64)
    (problem,) = manifest.problems(service("{max-lora-rank: 16}"))
    assert (
        problem
        == "m.yaml:8:15: adapter 'a' cannot be served: its rank 64 is higher than the engine's"
        " max-lora-rank 16; raise engine.args.max-lora-rank or leave it out"
    )


@pytest.mark.parametrize("base", ["org/tiny", "unsloth/tiny-bnb-4bit", "C:\\models\\other"])
def test_a_name_of_the_base_refuses_no_adapter(manifest, service, base):
    """A model from the hub has no shapes here; its replicas compare them."""
    adapter(manifest.path / "adapters" / "a", base=base)
    assert manifest.load(service(model="hf://org/tiny@main"))


def test_a_changed_adapter_is_looked_at_again(manifest, service):
    """Findings are remembered only while the folder stays as it is."""
    adapter(manifest.path / "adapters" / "a")
    assert manifest.load(service())
    (manifest.path / "adapters" / "a" / "adapter_model.safetensors").write_bytes(b"torn")
    assert len(manifest.problems(service())) == 1


def test_a_folder_that_is_no_adapter(manifest, service):
    """An empty folder is said to be one, not a traceback."""
    (problem,) = manifest.problems(service())
    assert "no adapter_config.json" in problem


def test_adapters_beyond_a_replicas_disk_are_refused(manifest, service, monkeypatch):
    """The next version of the largest has to fit beside all of them."""
    adapter(manifest.path / "adapters" / "a", rank=8, width=16)
    manifest.load(service())
    monkeypatch.setattr("reconciler.api.adapters.DISK", 1500)  # the adapter has 1 KiB
    (problem,) = manifest.problems(service())
    assert problem.startswith("m.yaml:7:5: the adapters need")


def test_an_adapter_that_is_refused_is_refused_once(manifest, service):
    """Weights of 100 GiB are too large for an adapter, and no sum of all adapters beside it."""
    adapter(manifest.path / "adapters" / "a")
    size = 100 << 30
    entry = {"dtype": "F32", "shape": [8, size // 32], "data_offsets": [0, size]}
    text = json.dumps({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": entry})
    with (manifest.path / "adapters/a/adapter_model.safetensors").open("wb") as sparse:
        sparse.write(len(text).to_bytes(8, "little") + text.encode())
        sparse.truncate(8 + len(text) + size)
    (problem,) = manifest.problems(service())
    assert "its weights are 100.0 GiB" in str(problem)
