"""What preflight refuses, with which sentence, and what it must let through."""

import json
import math
import os
import re
import shutil
from array import array
from pathlib import Path

import pytest

from serving.inspection.weights import read_header
from serving.preflight import check_adapter
from tests.tiny_model import make_adapter, make_model, write_safetensors


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def adapter(tmp_path, model):
    def make(**options):
        return make_adapter(
            tmp_path / "adapter", "red", model=options.pop("model", model), **options
        )

    return make


def _config(folder: Path, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _tensors(folder: Path):
    path = folder / "adapter_model.safetensors"
    data = path.read_bytes()
    return {
        name: (tensor.shape, array("f", data[tensor.start : tensor.end]))
        for name, tensor in read_header(path).items()
    }


def _edit(change):
    """Rewrite the weights file through `change`, which gets the tensors as a dict."""

    def apply(folder: Path):
        tensors = _tensors(folder)
        change(tensors)
        write_safetensors(folder / "adapter_model.safetensors", tensors)

    return apply


def _empty(tensors):
    tensors.update({name: ((0,), array("f")) for name in tensors})


def _set(value):
    def change(tensors):
        next(iter(tensors.values()))[1][5] = value

    return change


def _rename(old, new):
    def change(tensors):
        for name in list(tensors):
            if old in name:
                tensors[name.replace(old, new)] = tensors.pop(name)

    return change


def _cut(folder: Path):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickled(folder: Path):
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _sparse(folder: Path, size: int):
    """Weights that are all hole, so that a file of gigabytes costs nothing."""
    shape = [8, size // 32]
    head = {
        f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight": shape
        for side in "A"
    }
    text = json.dumps(
        {
            name: {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
            for name, shape in head.items()
        }
    ).encode()
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def _linked(path: Path):
    real = path.with_name("elsewhere")
    path.rename(real)
    path.symlink_to(real)


def _piped(name: str):
    """A pipe in the place of a file, which nobody writes to."""

    def damage(folder: Path):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def _zero(tensors, side):
    for name, (shape, values) in list(tensors.items()):
        if side in name:
            tensors[name] = (shape, array("f", [0.0]) * len(values))


REFUSED = [
    (
        "rank beyond the engine",
        {"rank": 32},
        None,
        "rank 32 is higher than the engine's max-lora-rank 16",
    ),
    ("pattern beyond the engine", {"rank_pattern": {"q_proj": 64}}, None, "rank 64 is higher"),
    ("rank that lies", {"r": 4}, None, "says rank 4"),
    ("no whole rank", {"r": 7.5}, None, "says rank 7.5"),
    ("DoRA", {"use_dora": True}, None, "DoRA"),
    ("bias", {"bias": "all"}, None, "bias='all'"),
    ("lora_bias", {"lora_bias": True}, None, "lora_bias"),
    ("prefix tuning", {"peft_type": "PREFIX_TUNING"}, None, "'PREFIX_TUNING'"),
    ("whole modules", {"modules_to_save": ["lm_head"]}, None, "modules_to_save: lm_head"),
    ("PiSSA", {"init_lora_weights": "pissa"}, None, "pissa"),
    ("layer replication", {"layer_replication": [[0, 1]]}, None, "layer_replication"),
    ("aLoRA", {"alora_invocation_tokens": [1]}, None, "aLoRA"),
    ("no alpha", {"lora_alpha": 0}, None, "lora_alpha"),
    ("bad JSON", {}, lambda f: (f / "adapter_config.json").write_text("{"), "not valid JSON"),
    ("no configuration", {}, lambda f: (f / "adapter_config.json").unlink(), "not a PEFT adapter"),
    (
        "no weights",
        {},
        lambda f: (f / "adapter_model.safetensors").unlink(),
        "no adapter_model.safetensors",
    ),
    ("pickle", {}, _pickled, "pickle"),
    ("truncated", {}, _cut, "truncated"),
    ("empty", {}, lambda f: (f / "adapter_model.safetensors").write_bytes(b""), "truncated"),
    (
        "garbage",
        {},
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"\xff" * 64),
        "not a safetensors",
    ),
    ("NaN", {}, _edit(_set(math.nan)), "not finite"),
    ("infinity", {}, _edit(_set(-math.inf)), "not finite"),
    (
        "extra layer",
        {},
        _edit(_rename("layers.1.", "layers.7.")),
        "layer 7, but the base model has 2 layers",
    ),
    ("unknown module", {}, _edit(_rename("q_proj", "zz_proj")), "takes no LoRA on zz_proj"),
    ("nothing gathered", {}, _edit(_empty), "is empty, as DeepSpeed ZeRO-3 saves it"),
    ("half a pair", {}, _edit(lambda t: t.pop(next(iter(t)))), "one half"),
    (
        "no LoRA tensor",
        {},
        _edit(lambda t: t.update(prompt_embeddings=((1,), array("f", [0.0])))),
        "not part of a LoRA",
    ),
    (
        "added tokens that the tokenizer beside it names",
        {},
        lambda f: (
            (f / "added_tokens.json").write_text('{"<|pad|>": 512}'),
            _edit(
                lambda t: t.update(
                    {"base_model.model.lm_head.weight": ((1, 2), array("f", [0, 0]))}
                )
            )(f),
        ),
        "for tokens such as <|pad|>",
    ),
    (
        "added tokens",
        {},
        _edit(
            lambda t: t.update(
                {"base_model.model.model.embed_tokens.weight": ((1, 2), array("f", [0, 0]))}
            )
        ),
        "carries a whole embedding",
    ),
    (
        "too large for the disk",
        {},
        lambda f: _sparse(f, 4 << 30),
        "its weights are 4.0 GiB; 3 GiB is the most",
    ),
    ("a link", {}, lambda f: _linked(f / "adapter_model.safetensors"), "is a link"),
    (
        "a Git LFS pointer",
        {},
        lambda f: (f / "adapter_model.safetensors").write_text(LFS),
        "Git LFS",
    ),
    (
        "an MLX adapter",
        {},
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapters.safetensors"),
        "MLX",
    ),
    ("zero", {}, _edit(lambda t: _zero(t, "lora_B")), "lora_B is zero in every module"),
    (
        "names of AutoModel",
        {},
        _edit(_rename("model.model.", "model.")),
        "must be called model.layers.0",
    ),
    (
        "names of a compiled model",
        {},
        _edit(_rename("model.model.", "model._orig_mod.model.")),
        "_orig_mod",
    ),
    (
        "a pattern that explodes",
        {"rank_pattern": {"([a-z_.0-9]+)+!": 8}},
        None,
        "can make matching endless",
    ),
    (
        "a slow pattern",
        {"alpha_pattern": {r"(\w|.|[a-z_])*[^\w.]": 8}},
        None,
        "regular expressions",
    ),
    ("a pattern that is none", {"alpha_pattern": {"q_proj(": 8}}, None, "no regular expression"),
    ("an alpha that is no number", {"alpha_pattern": {"q_proj": "x"}}, None, "no valid number"),
    ("wrong types", {"modules_to_save": 5}, None, "modules_to_save"),
    ("targets of a wrong type", {"target_modules": [["x"]]}, None, "target_modules"),
    ("a huge alpha", {"lora_alpha": 10**4000}, None, "lora_alpha"),
    ("a huge rank", {"r": 10**4000}, None, "higher than the engine's"),
    (
        "deep JSON",
        {},
        lambda f: (f / "adapter_config.json").write_text("[" * 100_000 + "]" * 100_000),
        "more than 64 in each other",
    ),
    ("a pipe for the configuration", {}, _piped("adapter_config.json"), "no regular file"),
    ("a pipe for the weights", {}, _piped("adapter_model.safetensors"), "no regular file"),
    (
        "a long configuration",
        {},
        lambda f: (f / "adapter_config.json").write_bytes(b" " * (5 << 20)),
        "has more than 4194304 bytes",
    ),
]


@pytest.mark.parametrize(
    ("changes", "damage", "sentence"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_broken_adapters_are_refused_with_one_clear_sentence(
    adapter, model, changes, damage, sentence
):
    """Each way an adapter can be broken is named."""
    options = dict(changes)
    folder = adapter(rank=options.pop("rank", 8))
    _config(folder, **options)
    if damage:
        damage(folder)
    findings = check_adapter(folder, model, 16)
    assert sentence in " ".join(findings.problems)


def test_an_adapter_of_another_width_is_refused(adapter, model, tmp_path):
    """Shapes are compared with the base's own."""
    other = make_model(tmp_path / "wide", hidden=256)
    findings = check_adapter(adapter(model=other), model, 16)
    assert "made for another base model" in findings.problems[0]
    assert "and 1 more" not in findings.problems[0]


def test_the_configuration_alone_gives_the_widths_when_weights_are_elsewhere(
    adapter, model, tmp_path
):
    """A base folder without safetensors still tells a wrong width."""
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(model / "config.json", bare)
    assert check_adapter(adapter(), bare, 16).problems == ()
    wide = make_adapter(tmp_path / "w", "red", model=make_model(tmp_path / "wide", hidden=256))
    assert "another base model" in check_adapter(wide, bare, 16).problems[0]


def test_one_cause_is_told_once(adapter, model):
    """A rank that lies is wrong in every module; one of them is named, and how many others."""
    (problem,) = check_adapter(adapter(r=4), model, 16).problems
    assert re.search(r"says rank 4 for [\w.]+, but its tensors have rank 8 \(and \d+ more", problem)


@pytest.mark.parametrize(
    ("name", "known", "noted"),
    [
        ("org/Phi-3-mini", ["./models/phi-3-mini"], False),
        ("org/phi-3-mini", ["hf://org/Phi-3-Mini@abc"], False),
        (None, ["./models/phi"], False),
        ("org/other", ["./models/phi"], True),
        ("org/other", None, False),
        ("C:\\models\\Phi-3-mini", ["org/phi-3-mini"], False),
        ("unsloth/phi-3-mini-bnb-4bit", ["org/phi-3-mini"], True),
    ],
    ids=["folder", "hub", "unnamed", "other", "side that does not know", "Windows", "quantised"],
)
def test_another_base_by_name_is_worth_a_note_and_no_obstacle(adapter, model, name, known, noted):
    """Case, punctuation and organisation do not matter; shapes decide, and not a name."""
    folder = adapter(base_model_name_or_path=name)
    findings = check_adapter(folder, model, 16, base_names=known)
    assert (bool(findings.notes), findings.problems) == (noted, ())
    assert findings.base_model == name


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": None},
        {"an_unknown_key": [1]},
        {"peft_type": "lora"},
        {"peft_type": None},
        {"r": 8.0},
        {"rank_pattern": {"model.layers.0.self_attn.q_proj": 8, "^model.*k_proj$": 8}},
        {"rank_pattern": {r".*\.(q|k)_proj": 8}, "alpha_pattern": {r"layers\.[0-9]+\..*": 4.5}},
        {"modules_to_save": ["score"]},
        {"lora_alpha": -8},
    ],
)
def test_what_vllm_loads_is_not_refused(adapter, model, changes):
    """Configurations that are unusual and that vLLM takes pass."""
    folder = adapter()
    _config(folder, **changes)
    assert check_adapter(folder, model, 16).problems == ()


@pytest.mark.parametrize("rank", [1, 4, 8, 16])
def test_ordinary_adapters_pass_and_tell_rank_size_and_modules(adapter, model, rank):
    """Every supported rank is accepted with its facts."""
    findings = check_adapter(adapter(rank=rank, use_rslora=True), model, 16)
    assert findings.problems == ()
    assert findings.rank == rank
    assert findings.size > 0
    assert "down_proj" in findings.target_modules
    assert findings.memory(16) == 2 * 16 * findings.width > 0


def test_a_rank_pattern_within_the_limit_passes(adapter, model):
    """A pattern decides the rank of the modules it names."""
    folder = adapter(rank=4)
    _edit(lambda t: _widen(t, "q_proj", 8))(folder)
    _config(folder, rank_pattern={"q_proj": 8})
    assert check_adapter(folder, model, 8) == check_adapter(folder, None, None)
    assert check_adapter(folder, model, 8).rank == 8


def test_a_subset_of_layers_passes(adapter, model):
    """An adapter need not touch every layer."""
    folder = adapter()
    _edit(lambda t: [t.pop(name) for name in list(t) if "layers.0." in name])(folder)
    assert check_adapter(folder, model, 16).problems == ()


def test_a_folder_that_is_not_there_is_a_finding(tmp_path):
    """Nothing is raised for a missing folder."""
    assert "no adapter folder" in check_adapter(tmp_path / "none").problems[0]


def _widen(tensors, module, rank):
    for name, (shape, _) in list(tensors.items()):
        if module in name:
            wide = (rank, shape[1]) if "lora_A" in name else (shape[0], rank)
            tensors[name] = (wide, array("f", [0.0]) * (wide[0] * wide[1]))
