"""The table of architectures is what the pinned vLLM says, and what preflight makes of it."""

import ast
import json
from pathlib import Path

import pytest

from serving.inspection.architecture import architecture
from serving.preflight import SUPPORTED_VLLM
from tests.serving import lora_table

MODELS = next(
    iter((lora_table.ROOT / ".venv/images/vllm/lib").glob("python3.*/site-packages/vllm")), Path()
)


@pytest.fixture(scope="module")
def table():
    return json.loads(lora_table.TABLE.read_text())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not MODELS.name, reason="the vLLM image's environment is not installed")
def test_the_table_is_what_the_images_vllm_says():
    """Made again in the image's environment, the table is the same to the letter."""
    assert lora_table.render(lora_table.generate()) == lora_table.TABLE.read_text()


def test_the_table_belongs_to_a_supported_vllm(table):
    """A new image needs the table made again."""
    assert table["vllm"] in SUPPORTED_VLLM


@pytest.mark.skipif(not MODELS.name, reason="the vLLM image's environment is not installed")
def test_the_table_names_every_architecture_of_the_images_registry(table):
    """What vLLM registers for generation is in the table, under its own name."""
    tree = ast.parse((MODELS / "model_executor/models/registry.py").read_text())
    registered = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "_TEXT_GENERATION_MODELS"
    )
    assert registered.keys() <= table["architectures"].keys()


@pytest.mark.parametrize(
    ("name", "said", "module"),
    [
        ("LlamaForCausalLM", "model.layers.3.self_attn.q_proj", "model.layers.3.self_attn.q_proj"),
        (
            "Gemma3ForConditionalGeneration",
            "model.language_model.layers.1.mlp.up_proj",
            "language_model.model.layers.1.mlp.up_proj",
        ),
        (
            "Qwen2_5_VLForConditionalGeneration",
            "model.layers.0.self_attn.k_proj",
            "language_model.model.layers.0.self_attn.k_proj",
        ),
        ("OPTForCausalLM", "decoder.layers.0.fc1", "model.decoder.layers.0.fc1"),
    ],
)
def test_names_are_mapped_as_vllm_maps_them(name, said, module):
    """What an adapter calls a module becomes vLLM's name, which takes a LoRA."""
    kind = architecture(name)
    assert kind.module(said) == module
    assert kind.takes(module)
    assert kind.expects(module)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("LlamaForCausalLM", "layers.0.self_attn.q_proj"),
        ("LlamaForCausalLM", "model.layers.0.self_attn.qkv_proj"),
        ("MixtralForCausalLM", "model.layers.0.mlp.experts"),
        ("Qwen2ForCausalLM", "lm_head"),
    ],
)
def test_what_vllm_does_not_have_takes_no_lora(name, module):
    """Names that vLLM's class lacks are known to be missing."""
    assert architecture(name).takes(module) is False


@pytest.mark.parametrize(
    ("name", "module", "lost"),
    [
        ("Qwen2MoeForCausalLM", "model.layers.*.mlp.shared_expert_gate", True),
        ("Qwen2MoeForCausalLM", "model.layers.*.mlp.shared_expert.up_proj", False),
        ("Qwen2MoeForCausalLM", "model.layers.*.mlp.gate", False),
        ("Qwen3MoeForCausalLM", "model.layers.*.mlp.gate", True),
        ("DeepseekV2ForCausalLM", "model.layers.*.self_attn.kv_b_proj", True),
        ("DeepseekV2ForCausalLM", "model.layers.*.self_attn.o_proj", False),
        ("LlamaForCausalLM", "model.layers.*.self_attn.q_proj", False),
    ],
)
def test_what_vllm_wraps_and_does_not_compute_with_is_known(name, module, lost):
    """Where a second holder of a layer keeps the bare one: the experts' runner keeps the router, the
    shared expert its gate, an attention what it has worked out of the weights.
    """
    assert (module in architecture(name).lost) == lost


@pytest.mark.parametrize(
    "name", ["Qwen3Model", "Qwen3ForSequenceClassification", "Qwen3ForTextEncoding"]
)
def test_a_model_for_embeddings_is_known_as_the_language_model_that_it_is_made_of(name):
    """As vLLM finds its class; an adapter that was trained on AutoModel lacks the class's prefix."""
    kind = architecture(name)
    assert kind.known
    assert kind.takes("model.layers.0.self_attn.q_proj")
    assert kind.takes("layers.0.self_attn.q_proj") is False


def test_a_model_of_the_backend_for_transformers_takes_no_lora_on_its_head():
    """vLLM serves what it has no class for by one class, and that wraps the embedding alone."""
    kind = architecture("HeliumForCausalLM")
    assert (kind.known, kind.embedding) == (False, {"embed_tokens"})


def test_the_head_inside_a_vision_language_model_takes_lora_where_vllm_wraps_it():
    """The class itself names no embedding modules; the language model inside it may."""
    leaf, name = "lm_head", "language_model.lm_head"
    kinds = map(architecture, ("LlavaForConditionalGeneration", "Gemma3ForConditionalGeneration"))
    assert [(kind.embeds(leaf), kind.takes(name)) for kind in kinds] == [
        (True, True),
        (False, False),
    ]
    assert architecture("PixtralForConditionalGeneration").embeds(leaf) is None  # not built here


@pytest.mark.parametrize("name", ["JambaForCausalLM", "GraniteMoeHybridForCausalLM"])
def test_a_hybrid_takes_lora_in_each_of_its_sorts_of_layers(name):
    """Also where the first layers of the configuration that vLLM is asked with are of one sort."""
    kind = architecture(name)
    modules = [
        kind.module(f"model.layers.1.{one}") for one in ("self_attn.q_proj", "mamba.in_proj")
    ]
    assert [(kind.takes(one), kind.expects(one)) for one in modules] == [(True, True)] * 2


def test_a_checkpoints_names_are_those_of_the_model_that_transformers_makes_of_it():
    """An adapter has the model's names, and the files may have those of an older release."""
    kind, stored = architecture("PhimoeForCausalLM"), "model.layers.0.block_sparse_moe.gate.weight"
    assert kind.loaded(stored) == "model.layers.0.mlp.router.weight"
    assert architecture("LlamaForCausalLM").loaded(stored) == stored


def test_an_architecture_that_nobody_knows_is_not_refused():
    """Nothing is known of it, so shapes and names of the base decide."""
    kind = architecture("SomethingNewForCausalLM")
    assert (kind.lora, kind.takes("model.x"), kind.expects("model.x")) == (True, None, None)
    assert not architecture("GPT2LMHeadModel").lora
