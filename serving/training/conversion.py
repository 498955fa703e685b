"""A Llama-family GGUF file to the Hugging Face folder that vLLM and transformers load (bf16
safetensors).

Done here tensor by tensor with numpy: seconds and 300 MB where loading the model through
transformers takes a minute and 1 GB.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from serving.training.errors import TrainingError
from serving.training.gguf_file import GgufFile
from serving.training.gguf_tokenizer import write_tokenizer

NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(source: Path, folder: Path, advance: Callable[[int, int], None]) -> None:
    """Write `source` as a model folder; `advance(done, total)` counts tensors. Raises TrainingError
    for other architectures.
    """
    with GgufFile(source) as gguf:
        architecture = gguf.metadata.get("general.architecture")
        if architecture != "llama":
            raise TrainingError(
                f"{source}: architecture {architecture}; only llama is converted. Give a Hugging"
                " Face folder instead"
            )
        folder.mkdir(parents=True, exist_ok=True)
        config = _config(gguf)
        _write_json(folder / "config.json", config)
        tokens: dict[str, Any] = {
            key: config[key]
            for key in ("bos_token_id", "eos_token_id", "pad_token_id")
            if key in config
        }
        _write_json(folder / "generation_config.json", {"do_sample": False, **tokens})
        write_tokenizer(gguf.metadata, folder)
        _write_weights(gguf, folder / "model.safetensors", config, advance)


def _config(gguf: GgufFile) -> dict[str, Any]:
    """The LlamaConfig of transformers, from the file's metadata."""
    meta = {key.removeprefix("llama."): value for key, value in gguf.metadata.items()}
    unsupported = sorted(key for key in meta if key.startswith("rope.scaling") or "expert" in key)
    if unsupported:
        raise TrainingError(f"the GGUF file uses {', '.join(unsupported)}, which is not converted")
    ids: dict[str, int] = {
        name: gguf.metadata[f"tokenizer.ggml.{key}_token_id"]
        for name, key in (
            ("bos_token_id", "bos"),
            ("eos_token_id", "eos"),
            ("pad_token_id", "padding"),
        )
        if f"tokenizer.ggml.{key}_token_id" in gguf.metadata
    }
    heads = meta["attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "vocab_size": gguf.tensors["token_embd.weight"].shape[0],
        "hidden_size": meta["embedding_length"],
        "intermediate_size": meta["feed_forward_length"],
        "num_hidden_layers": meta["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": meta.get("attention.head_count_kv", heads),
        "head_dim": meta.get("rope.dimension_count", meta["embedding_length"] // heads),
        "hidden_act": "silu",
        "max_position_embeddings": meta["context_length"],
        "rms_norm_eps": meta["attention.layer_norm_rms_epsilon"],
        "rope_theta": meta.get("rope.freq_base", 10000.0),
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "attention_bias": False,
        "mlp_bias": False,
        "use_cache": True,
        **ids,
    }


def _write_weights(
    gguf: GgufFile, path: Path, config: dict[str, Any], advance: Callable[[int, int], None]
) -> None:
    """Stream every tensor as bf16 into one safetensors file: an 8-byte length, a JSON header, the
    data in header order.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    order: list[str] = []
    position = 0
    for name, tensor in gguf.tensors.items():
        size = 2 * int(np.prod(tensor.shape))
        header[_hf_name(name)] = {
            "dtype": "BF16",
            "shape": list(tensor.shape),
            "data_offsets": [position, position + size],
        }
        order.append(name)
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for done, name in enumerate(order, 1):
            for part in _bf16_parts(_rope_order(gguf.read(name), name, config)):
                file.write(part)
            advance(done, len(order))


def _hf_name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if match is None or match[2] not in NAMES:
        raise TrainingError(
            f"the GGUF file holds a tensor {name}, which a Llama model does not have"
        )
    return f"model.layers.{match[1]}.{NAMES[match[2]]}.weight"


def _rope_order(
    values: np.ndarray[Any, Any], name: str, config: dict[str, Any]
) -> np.ndarray[Any, Any]:
    """Reorder rotary heads: llama.cpp interleaves the two halves of each head, and transformers
    keeps them apart.
    """
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(
        name.split(".")[-2]
    )
    if heads is None:
        return values
    count = config[heads]
    half = values.shape[0] // count // 2
    return values.reshape(count, half, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _bf16_parts(values: np.ndarray[Any, Any], rows: int = 4096) -> Iterator[bytes]:
    """float32 to bfloat16, rounded to nearest even as torch does, in slices so that the copies stay
    small.
    """
    for start in range(0, values.shape[0], rows):
        bits = np.ascontiguousarray(values[start : start + rows], dtype=np.float32).view(np.uint32)
        rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        yield (rounded >> np.uint32(16)).astype("<u2").tobytes()


def _write_json(path: Path, body: dict[str, Any]) -> None:
    path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
