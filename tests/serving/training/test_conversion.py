"""A GGUF file becomes the Hugging Face folder it was made from."""

import json

import gguf
import numpy as np
import pytest

from serving.training.conversion import convert
from serving.training.errors import TrainingError
from serving.training.gguf_file import GgufFile

HIDDEN, HEADS, HEAD, WORDS = 64, 2, 32, ["<s>", "</s>", "a", "b", "ab", "Ġ", "1", "2"]


def write_gguf(path, architecture="llama", pre="smollm"):
    """One layer with weights that differ everywhere, the attention in llama.cpp's order of rotary
    pairs.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 1, 1, 1, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    weights = np.arange(HIDDEN * HIDDEN, dtype=np.float32).reshape(HIDDEN, HIDDEN) / 1000
    writer.add_tensor("token_embd.weight", weights[: len(WORDS)])
    writer.add_tensor("output_norm.weight", weights[0])
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", weights[1])
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", weights)
    kind = gguf.GGMLQuantizationType.Q4_1
    writer.add_tensor("blk.0.ffn_down.weight", gguf.quants.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.mark.filterwarnings("ignore")
def test_the_folder_holds_the_same_numbers(tmp_path):
    """Names, shapes and values are transformers' own: bf16, rotary halves apart, quantised blocks
    spread out.
    """
    import torch
    from safetensors.torch import load_file

    weights = write_gguf(tmp_path / "model.gguf")
    counted = []

    convert(
        tmp_path / "model.gguf",
        tmp_path / "model",
        lambda done, total: counted.append((done, total)),
    )

    tensors = load_file(tmp_path / "model" / "model.safetensors")
    expected = torch.from_numpy(weights).to(torch.bfloat16)
    assert counted[-1] == (11, 11)
    assert torch.equal(tensors["model.layers.0.self_attn.v_proj.weight"], expected)
    heads = expected.reshape(HEADS, HEAD // 2, 2, HIDDEN).transpose(1, 2).reshape(HIDDEN, HIDDEN)
    assert torch.equal(tensors["model.layers.0.self_attn.q_proj.weight"], heads)
    assert torch.allclose(
        tensors["model.layers.0.mlp.down_proj.weight"].float(), torch.from_numpy(weights), atol=0.02
    )
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["num_key_value_heads"], config["tie_word_embeddings"], config["vocab_size"]) == (
        HEADS,
        True,
        len(WORDS),
    )


def test_the_tokenizer_spells_as_the_file_says(tmp_path):
    """Merges are applied, digits stay single, special tokens are whole, and the chat template
    travels.
    """
    from tokenizers import Tokenizer

    write_gguf(tmp_path / "model.gguf")

    convert(tmp_path / "model.gguf", tmp_path / "model", lambda _done, _total: None)

    tokenizer = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    assert tokenizer.encode("<s>ab 12</s>").tokens == ["<s>", "ab", "Ġ", "1", "2", "</s>"]
    assert (
        tmp_path / "model" / "chat_template.jinja"
    ).read_text() == "{{ messages[0]['content'] }}"
    assert (
        json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())["eos_token"]
        == "</s>"
    )


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"architecture": "mamba"}, "only llama is converted"),
        ({"pre": "tekken"}, "pre-tokenizer tekken"),
    ],
)
def test_refuses_what_it_would_convert_wrongly(tmp_path, made, words):
    """Another architecture or spelling is an error, not a folder that answers nonsense."""
    write_gguf(tmp_path / "model.gguf", **made)

    with pytest.raises(TrainingError, match=words):
        convert(tmp_path / "model.gguf", tmp_path / "model", lambda _done, _total: None)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"not a model", b"GGUF" + (9).to_bytes(4, "little") + bytes(32)]
)
def test_a_file_that_is_no_gguf_is_one_sentence(tmp_path, content):
    """A torn or foreign file is named."""
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    with pytest.raises(TrainingError, match=r"model.gguf: not a readable GGUF file"):
        GgufFile(path)
