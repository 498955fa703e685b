"""A seeded fuzzer of preflight: whatever is in an adapter's folder, it is judged soon, by a rule and
not by an exception that nobody foresaw. `make test` runs a slice.
"""

import json
import random
import shutil
import time

import pytest

from serving.preflight import check_adapter
from tests.serving.test_untrusted import _mutated, _wild
from tests.tiny_model import make_adapter, make_model

CONFIG, WEIGHTS, BASE = "adapter_config.json", "adapter_model.safetensors", "config.json"
NAMES = [
    "peft_type", "r", "lora_alpha", "target_modules", "modules_to_save", "rank_pattern", "bias",
    "alpha_pattern", "base_model_name_or_path", "use_dora", "use_rslora", "target_parameters",
    "layers_to_transform", "layers_pattern", "exclude_modules", "task_type", "trainable_token_indices",
    "layer_replication", "fan_in_fan_out", "inference_mode", "megatron_config", "init_lora_weights",
]  # fmt: skip
SECONDS = 3.0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    model = make_model(folder / "model")
    adapter = make_adapter(folder / "adapter", "red", model=model)
    return adapter, model, folder


def _header(data, dice):
    """A safetensors file whose header was changed and whose length says so, mostly."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for _ in range(dice.randint(1, 3)):
        name = dice.choice([*header])
        if dice.random() < 0.5 and isinstance(header[name], dict):
            header[name][dice.choice(["dtype", "shape", "data_offsets"])] = _wild(dice)
        elif dice.random() < 0.5:
            header[name + dice.choice(["", ".", ".lora_A.weight", "\ud800", "x" * 5000])] = header[
                name
            ]
        else:
            header[name] = _wild(dice)
    text = json.dumps(header).encode()
    said = len(text) + (dice.randint(-9, 9) if dice.random() < 0.1 else 0)
    return max(0, said).to_bytes(8, "little") + text + data[8 + length :]


def _change(folder, dice):
    kind = dice.random()
    path = folder / dice.choice([CONFIG, CONFIG, WEIGHTS])
    if kind < 0.5 and path.name == CONFIG:
        config = json.loads(path.read_bytes())
        for name in dice.sample(NAMES, dice.randint(1, 4)):
            config[name] = _wild(dice)
        path.write_text(json.dumps(config))
    elif kind < 0.6:
        path.unlink()
    elif path.name == WEIGHTS and kind < 0.9:
        path.write_bytes(_header(path.read_bytes(), dice))
    else:
        path.write_bytes(_mutated(path.read_bytes(), dice))


@pytest.mark.timeout(900)
def test_every_folder_is_judged_by_a_rule(world, request):
    """The adapter's files, and the base's configuration, changed in any way."""
    adapter, model, folder = world
    tries = 3_000 if request.config.getoption("-m") != "not slow" else 300
    for seed in range(tries):
        dice = random.Random(seed)
        changed, base = folder / "changed", model
        shutil.rmtree(changed, ignore_errors=True)
        shutil.copytree(adapter, changed)
        if dice.random() < 0.85:
            _change(changed, dice)
        else:
            base = folder / "base"
            shutil.rmtree(base, ignore_errors=True)
            shutil.copytree(model, base)
            config = json.loads((base / BASE).read_bytes())
            for name in dice.sample([*config], 2):
                config[name] = _wild(dice)
            (base / BASE).write_text(json.dumps(config))
        began = time.process_time()
        findings = check_adapter(changed, base, dice.choice([None, 16]))
        assert time.process_time() - began < SECONDS, seed
        assert not any("not known here" in text for text in findings.problems), (seed, findings)
