"""An adapter with 32-bit weights is published in the engine's type under the source's digest."""

import asyncio
import json
import os
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from reconciler.api.adapters import adapter_notes
from reconciler.api.manifest import load
from reconciler.composition import compose
from reconciler.composition.world import World
from reconciler.sources import converted
from reconciler.sources.documents import DocumentSource
from reconciler.sources.remote import Fetched

DOCUMENT = """\
kind: Environment
metadata: {{name: default}}
spec:
  workloadProfiles: [{{name: gpu, workloadProfileType: {gpu}}}]
---
kind: InferenceService
metadata: {{name: {name}}}
spec:
  model: {{source: ./base}}
  engine: {{args: {args}}}
  adapters: [{{name: style, source: ./style}}]
"""
A100, T4 = "Consumption-GPU-NC24-A100", "Consumption-GPU-NC8as-T4"


@pytest.fixture
def project(tmp_path):
    """A base that says bfloat16 and whose weights nobody reads, and a float32 adapter."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pytorch_model.bin").touch()
    say(tmp_path, dtype="bfloat16")
    (tmp_path / "style").mkdir()
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (tmp_path / "style" / "adapter_config.json").write_text(json.dumps(config))
    weigh(tmp_path)
    return tmp_path


def say(folder, **config):
    text = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | config
    (folder / "base" / "config.json").write_text(json.dumps(text))


def weigh(folder, value=0.1234567, dtype=torch.float32):
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{module}.lora_A.weight": torch.full((4, 64), value, dtype=dtype),
        f"{module}.lora_B.weight": torch.full((64, 4), -0.7654321, dtype=dtype),
    }
    save_file(tensors, folder / "style" / "adapter_model.safetensors", metadata={"format": "pt"})


def snapshot(folder, *, args="{}", gpu=A100, name="phi"):
    file = folder / "moorage.yaml"
    file.write_text(DOCUMENT.format(args=args, gpu=gpu, name=name))

    async def fetch(_):
        return Fetched()

    return asyncio.run(DocumentSource([file], folder / "cache").read(fetch))


def published(folder, **asked):
    """The adapter's folder as it is to be published, and what the catalogue says of it."""
    now = snapshot(folder, **asked)
    world = World(
        "00000000-0000-0000-0000-000000000001",
        "swedencentral",
        str,
        now.runtime,
        now.trees,
        now.converted,
        now.ranks,
    )
    found = compose(now.manifest.documents, world).desired
    spec = next(d.spec for d in found if getattr(d.spec, "prefix", "").startswith("adapters/"))
    catalogue = next(d.spec for d in found if d.key.kind == "AdapterCatalogue")
    return spec, catalogue.adapters[0]


def test_the_published_bytes_are_halved_and_the_version_stays(project):
    """The folder's digest names the version, whatever type its copy on the share has."""
    source = snapshot(project).trees[project / "style"]
    spec, listed = published(project)
    weights = spec.tree.files["adapter_model.safetensors"]
    assert spec.prefix == listed.path == f"adapters/style/{source.digest[:12]}-bfloat16"
    assert spec.digest == listed.digest == source.digest
    assert 2 * 64 * 4 * 2 <= weights.size < source.files["adapter_model.safetensors"].size * 0.7
    assert {one.dtype for one in load_file(weights.path).values()} == {torch.bfloat16}
    assert spec.tree.files["adapter_config.json"] == source.files["adapter_config.json"]


@pytest.mark.parametrize(
    ("args", "config", "gpu", "expected"),
    [
        ("{dtype: half}", "bfloat16", A100, "-float16"),
        ("{dtype: bfloat16, lora-dtype: float16}", "bfloat16", A100, "-float16"),
        ("{dtype: float32}", "bfloat16", A100, ""),
        ("{dtype: auto}", "float16", A100, "-float16"),
        ("{}", "float32", A100, ""),  # vLLM takes what its GPU likes best
        ("{}", None, A100, ""),
        ("{}", "bfloat16", T4, ""),  # which has none, so that vLLM takes another type
        ("{dtype: half}", "bfloat16", T4, "-float16"),
    ],
)
def test_the_type_is_the_one_in_which_the_engine_computes(project, args, config, gpu, expected):
    """As vLLM decides it; where nobody knows, the adapter stays as it is."""
    say(project, **({"torch_dtype": config} if config else {}))
    spec, listed = published(project, args=args, gpu=gpu)
    assert listed.path == f"adapters/style/{spec.digest[:12]}{expected}"
    assert spec.tree.dtype == expected.removeprefix("-")


def test_another_type_of_the_engine_is_published_anew(project):
    """Beside the one before, because revisions that still run read that."""
    first, _ = published(project)
    second, _ = published(project, args="{dtype: half}")
    assert first.digest == second.digest
    assert first.prefix != second.prefix


@pytest.mark.parametrize(("value", "dtype"), [(70000.0, torch.float32), (1.0, torch.float16)])
def test_what_cannot_or_need_not_be_converted_is_published_as_it_is(project, value, dtype):
    """A value that would become infinity, or weights that have 16 bits already."""
    weigh(project, value, dtype)
    spec, listed = published(project, args="{dtype: half}")
    assert listed.path == f"adapters/style/{spec.digest[:12]}"
    assert spec.tree.files["adapter_model.safetensors"].path.parent == project / "style"


def test_validate_says_what_is_published(project):
    """The type and both sizes; or why it stays as it is."""

    def notes(args):
        snapshot(project, args=args)
        documents = load([project / "moorage.yaml"]).documents
        return " ".join(note for one in documents for note in adapter_notes(one))

    assert "published in bfloat16" in notes("{}")
    weigh(project, 70000.0)
    assert "too large for float16" in notes("{dtype: half}")
    assert "published" not in notes("{dtype: float32}")


def test_a_cache_without_room_publishes_the_adapter_as_it_is(project, monkeypatch):
    """Half of the bytes is a gain, and no condition."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converted, "convert", full)
    spec, listed = published(project)
    assert listed.path == f"adapters/style/{spec.digest[:12]}"
    assert not list((project / "cache" / "converted").glob("*"))


def test_what_is_no_longer_used_leaves_the_cache(project):
    """A day after its last use; what is in use stays."""
    published(project)
    (old,) = (project / "cache" / "converted").iterdir()
    weigh(project, 0.5)
    os.utime(old, (time.time() - converted.KEPT - 1,) * 2)
    published(project)
    (kept,) = (project / "cache" / "converted").iterdir()
    assert kept != old
    os.utime(kept, (time.time() - converted.KEPT - 1,) * 2)
    published(project)
    assert kept.is_dir()
