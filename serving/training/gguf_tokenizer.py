"""The tokenizer inside a GGUF file, as the tokenizer.json and chat template that transformers and
vLLM read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from serving.training.errors import TrainingError

CONTROL, USER_DEFINED = 3, 4  # token types of GGUF
ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def write_tokenizer(metadata: dict[str, Any], folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja. Raises TrainingError
    unless byte-level BPE.
    """
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        raise TrainingError(
            f"tokenizer {metadata.get('tokenizer.ggml.model')} in the GGUF file; only byte-level"
            " BPE is converted"
        )
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
    )
    tokenizer.pre_tokenizer = _pre_tokenizer(metadata.get("tokenizer.ggml.pre", "default"))
    tokenizer.decoder = decoders.ByteLevel()
    kinds = metadata.get("tokenizer.ggml.token_type", [])
    named = list(zip(tokens, kinds, strict=False))
    tokenizer.add_special_tokens(
        [
            AddedToken(token, normalized=False, special=True)
            for token, kind in named
            if kind == CONTROL
        ]
    )
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False) for token, kind in named if kind == USER_DEFINED]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_config(metadata, tokens, folder)


def _write_config(metadata: dict[str, Any], tokens: list[str], folder: Path) -> None:
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": metadata["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }
    for name, key in ROLES.items():
        index = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if index is not None:
            config[name] = tokens[index]
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2) + "\n", encoding="utf-8"
    )
    template = metadata.get("tokenizer.chat_template")
    if template:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _pre_tokenizer(name: str) -> Any:
    """The rules that split text before merging; the names are llama.cpp's."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name in ("smollm", "starcoder", "refact", "command-r"):
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    if name in ("default", "gpt-2", "gpt2"):
        return byte_level
    raise TrainingError(f"pre-tokenizer {name} in the GGUF file is not known here")
