"""What preflight says of adapters for a mixture of experts."""

import json
from array import array

import pytest

from serving.preflight import check_adapter
from tests.tiny_model import write_safetensors

HIDDEN, RANK = 16, 4


def _pair(name, outputs, inputs):
    return {
        f"base_model.model.model.layers.0.{name}.lora_A.weight": _tensor(RANK, inputs),
        f"base_model.model.model.layers.0.{name}.lora_B.weight": _tensor(outputs, RANK),
    }


def _tensor(rows, columns):
    return (rows, columns), array("f", [0.5] * (rows * columns))


@pytest.mark.parametrize(
    ("architecture", "modules", "word"),
    [
        ("Qwen2MoeForCausalLM", {"self_attn.q_proj": (16, 16)}, None),
        ("Qwen2MoeForCausalLM", {"mlp.shared_expert.up_proj": (24, 16)}, None),
        (
            "Qwen2MoeForCausalLM",
            {"self_attn.q_proj": (16, 16), "mlp.shared_expert_gate": (1, 16)},
            "does not compute with it",
        ),
        ("Qwen2MoeForCausalLM", {"mlp.experts": (16, 8)}, "LoRA on all experts"),
        ("PhimoeForCausalLM", {"mlp.experts": (16, 8)}, "LoRA on all experts"),
        ("GptOssForCausalLM", {"mlp.experts": (16, 8)}, None),
        ("Qwen3MoeForCausalLM", {"mlp.gate": (4, 16)}, "does not compute with it"),
        ("Qwen3MoeForCausalLM", {"mlp.experts.3.up_proj": (8, 16)}, None),
        ("Qwen3MoeForCausalLM", {"mlp.experts.4.up_proj": (8, 16)}, "has 4 experts"),
        ("Qwen2MoeForCausalLM", {"mlp.gate": (4, 16)}, None),
    ],
)
def test_only_what_vllm_computes_with_is_accepted(tmp_path, architecture, modules, word):
    """An adapter of which vLLM leaves a part out would answer otherwise than it was trained to."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    config = {"architectures": [architecture], "num_hidden_layers": 1, "hidden_size": HIDDEN}
    config["num_experts"] = 4
    (base / "config.json").write_text(json.dumps(config))
    tensors = {}
    for name, shape in modules.items():
        tensors |= _pair(name, *shape)
    write_safetensors(adapter / "adapter_model.safetensors", tensors)
    said = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": "all-linear"}
    (adapter / "adapter_config.json").write_text(json.dumps(said))
    problems = check_adapter(adapter, base).problems
    assert (word in problems[0]) if word else problems == ()
