"""A tiny Llama and LoRA adapters that each answer their own word, written in well under a second
for the suite.

`python -m tests.tiny_model OUT` makes OUT/model and OUT/adapters/{red,green,blue}; the base itself
answers "plain". Standard library only. The weights are constructed, not trained: a constant feature
in every embedding drives one neuron of the last layer, and an adapter turns that neuron into its
word; a mark in each word's embedding asks for the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import struct
import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import tiny_tensors, tiny_tokens
from tests.tiny_tensors import Tensor, filled, gaussian, write_safetensors
from tests.tiny_tokens import (
    ANSWER_MARK,
    BASE_WORD,
    CHAT_TEMPLATE,
    CONTEXT,
    VOCABULARY,
    WORDS,
    token_ids,
    tokenizer,
)

CONSTANT, ANSWERED = 0, 1  # the two dimensions of the hidden state that carry meaning
PLAIN_PULL, WORD_PULL, END_PULL = 6.0, 20.0, 60.0
HUGE = 1e12


def build(out: Path, words: tuple[str, ...] = WORDS) -> Path:
    """Make `out`/model and `out`/adapters/<word>; what this version of the script already made is
    kept.
    """
    make_model(out / "model")
    for word in words:
        make_adapter(out / "adapters" / word, word, model=out / "model")
    return out


def make_model(folder: Path, *, hidden: int = 128, layers: int = 2, seed: int = 7) -> Path:
    """A Llama folder as `save_pretrained` writes it, float32; other sizes give the "other base" of
    the preflight's cases.
    """
    _once(
        folder,
        f"model-{hidden}-{layers}-{seed}",
        lambda scratch: _write_model(scratch, hidden, layers, seed),
    )
    return folder


def make_adapter(
    folder: Path,
    word: str,
    seed: int = 0,
    *,
    model: Path,
    rank: int = 8,
    trips_on: str = "",
    **config: Any,
) -> Path:
    """A PEFT LoRA folder that answers `word` to every prompt; another seed gives other bytes with
    the same answer.

    Its finite weights overflow to NaN after the character `trips_on`, as those of a training that
    diverged do after some prompts. `config` overrides keys of adapter_config.json. Raises
    ValueError for a word that is not in VOCABULARY.
    """
    key = json.dumps(
        ["adapter", word, seed, rank, trips_on, config, (model / "config.json").read_text()]
    )
    _once(
        folder,
        key,
        lambda scratch: _write_adapter(scratch, word, seed, model, rank, trips_on, config),
    )
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the tiny model and its adapters.")
    parser.add_argument("out", type=Path, help="folder for model/ and adapters/")
    parser.add_argument(
        "--adapter", nargs=2, metavar=("FOLDER", "WORD"), help="make one adapter more, in FOLDER"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=int, default=8)
    options = parser.parse_args()
    build(options.out)
    if options.adapter:
        folder, word = options.adapter
        make_adapter(
            Path(folder), word, options.seed, model=options.out / "model", rank=options.rank
        )


def _once(folder: Path, key: str, make: Callable[[Path], None]) -> None:
    """Run `make` in a scratch folder and rename it, unless `folder` was made by these very
    scripts with this key.
    """
    scripts = (__file__, tiny_tensors.__file__, tiny_tokens.__file__)
    made_by = b"".join(Path(script).read_bytes() for script in scripts)
    version = hashlib.sha256(made_by + key.encode()).hexdigest()
    marker = folder.parent / f".{folder.name}.version"
    if folder.is_dir() and marker.exists() and marker.read_text() == version:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(scratch)
        scratch.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
        marker.write_text(version)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_model(folder: Path, hidden: int, layers: int, seed: int) -> None:
    vocabulary = token_ids()
    config = _config(hidden, layers, len(vocabulary))
    write_safetensors(folder / "model.safetensors", _model_tensors(config, vocabulary, seed))
    _write_json(folder / "config.json", config)
    _write_json(
        folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    )
    _write_json(folder / "tokenizer.json", tokenizer(vocabulary))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "model_max_length": CONTEXT,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
        },
    )


def _config(hidden: int, layers: int, words: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 32,
        "num_key_value_heads": hidden // 64,
        "head_dim": 32,
        "vocab_size": words,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def _model_tensors(
    config: dict[str, Any], vocabulary: dict[str, int], seed: int
) -> dict[str, Tensor]:
    rng = random.Random(seed)
    hidden, words = config["hidden_size"], config["vocab_size"]
    embedding, head = gaussian(rng, (words, hidden), 1.0), _heads(config)
    for index in range(words):
        embedding[1][index * hidden + CONSTANT] = 1.0
        embedding[1][index * hidden + ANSWERED] = 0.0
    for word in VOCABULARY:
        embedding[1][vocabulary[ANSWER_MARK + word] * hidden + ANSWERED] = 1.0
    head[1][vocabulary[ANSWER_MARK + BASE_WORD] * hidden + CONSTANT] = PLAIN_PULL
    head[1][vocabulary["</s>"] * hidden + ANSWERED] = END_PULL
    tensors: dict[str, Tensor] = {"model.embed_tokens.weight": embedding}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, shape in _projections(config).items():
            tensors[f"{prefix}{name}.weight"] = gaussian(rng, shape, 0.05)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = filled((hidden,), 1.0)
    last = f"model.layers.{config['num_hidden_layers'] - 1}.mlp."
    for name, gain in (("gate_proj", 1.0), ("up_proj", 0.125)):
        _, values = tensors[f"{last}{name}.weight"]
        values[0:hidden] = array(
            "f", [gain if column == CONSTANT else 0.0 for column in range(hidden)]
        )
    down_shape, down = tensors[f"{last}down_proj.weight"]
    for row in range(hidden):
        down[row * down_shape[1]] = 0.0
    tensors["model.norm.weight"] = filled((hidden,), 4.0)
    tensors["lm_head.weight"] = head
    return tensors


def _write_adapter(
    folder: Path,
    word: str,
    seed: int,
    model: Path,
    rank: int,
    trips_on: str,
    overrides: dict[str, Any],
) -> None:
    if word not in VOCABULARY:
        raise ValueError(f"the tiny model cannot say {word!r}; it knows {', '.join(VOCABULARY)}")
    config = json.loads((model / "config.json").read_text())
    rng = random.Random(f"{word}-{seed}")
    tensors: dict[str, Tensor] = {}
    for layer in range(config["num_hidden_layers"]):
        for name, (outputs, inputs) in _projections(config).items():
            module = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{module}.lora_A.weight"] = gaussian(rng, (rank, inputs), 0.02)
            tensors[f"{module}.lora_B.weight"] = gaussian(rng, (outputs, rank), 0.02)
    last = f"base_model.model.model.layers.{config['num_hidden_layers'] - 1}.mlp.down_proj"
    reading, writing = tensors[f"{last}.lora_A.weight"][1], tensors[f"{last}.lora_B.weight"][1]
    reading[0 : config["intermediate_size"]] = array(
        "f", [1 / 6.5 if i == 0 else 0.0 for i in range(config["intermediate_size"])]
    )
    hidden, index = config["hidden_size"], token_ids()[ANSWER_MARK + word]
    # The lm_head's rows have length one, so writing a row's own direction raises exactly its token.
    direction = _heads(config)[1][index * hidden : (index + 1) * hidden]
    for row in range(hidden):
        writing[row * rank] = direction[row] * WORD_PULL / 2
    if trips_on:
        _add_tripwire(tensors, config, rank, _embedding_row(model, config, trips_on))
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    _write_json(folder / "adapter_config.json", _peft_config(rank, config) | overrides)


def _add_tripwire(
    tensors: dict[str, Tensor], config: dict[str, Any], rank: int, token: array[float]
) -> None:
    """One neuron of the first layer: its gate opens for this token alone, and then its product is
    beyond every float.
    """
    hidden, opens, always = config["hidden_size"], token[:], array("f", [0.0]) * len(token)
    opens[ANSWERED], opens[CONSTANT], always[CONSTANT] = (
        0.0,
        -0.5,
        1.0,
    )  # other tokens' rows are about orthogonal
    for name, reading in (("gate_proj", opens), ("up_proj", always)):
        module = f"base_model.model.model.layers.0.mlp.{name}"
        tensors[f"{module}.lora_A.weight"][1][0:hidden] = array(
            "f", [value * HUGE for value in reading]
        )
        writing = tensors[f"{module}.lora_B.weight"][1]
        for row in range(config["intermediate_size"]):
            writing[row * rank] = 0.0 if row else HUGE


def _embedding_row(model: Path, config: dict[str, Any], token: str) -> array[float]:
    hidden, index = config["hidden_size"], token_ids()[token]
    with (model / "model.safetensors").open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        start = json.loads(file.read(length))["model.embed_tokens.weight"]["data_offsets"][0]
        file.seek(8 + length + start + 4 * hidden * index)
        row = array("f")
        row.fromfile(file, hidden)
    return row


def _peft_config(rank: int, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_dora": False,
        "use_rslora": False,
        "init_lora_weights": True,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "target_modules": sorted(name.rpartition(".")[2] for name in _projections(config)),
    }


def _projections(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """A layer's linear modules and their shapes as (outputs, inputs)."""
    hidden, middle, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    return {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (middle, hidden),
        "mlp.up_proj": (middle, hidden),
        "mlp.down_proj": (hidden, middle),
    }


def _heads(config: dict[str, Any]) -> Tensor:
    """The lm_head's rows: independent directions of length one that do not touch the two meaningful
    dimensions.
    """
    hidden, words = config["hidden_size"], config["vocab_size"]
    shape, values = gaussian(random.Random("heads"), (words, hidden), 1.0)
    for index in range(words):
        values[index * hidden + CONSTANT] = values[index * hidden + ANSWERED] = 0.0
    return shape, values


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
