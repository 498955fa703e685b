"""A model's folder is looked into at the save: what cannot be served is refused with its place."""

import json

import pytest

from reconciler.api.context_lengths import length_asked, longest_context
from reconciler.api.manifest import ManifestError, load

DOCUMENT = """\
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {{name: phi}}
spec:
  model: {{source: ./model}}
  engine: {{{allow}args: {{max-model-len: {length}}}}}
  env: [{env}]
"""


def problems(folder, config, length=100, env="", weights="pytorch_model.bin", allow=""):
    """What `load` says of a document beside a model with this configuration."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    if config is not None and weights:
        (model / weights).write_bytes(b"weights")
    if config is not None:
        (model / "config.json").write_text(
            config if isinstance(config, str) else json.dumps(config)
        )
    (folder / "m.yaml").write_text(DOCUMENT.format(length=length, env=env, allow=allow))
    try:
        load([folder / "m.yaml"])
    except ManifestError as error:
        return str(error)
    return ""


def test_a_folder_without_a_model_is_refused(tmp_path):
    """Nothing in it, at the place of the source."""
    said = problems(tmp_path, None)
    assert "m.yaml:5:19: " in said
    assert "it has no config.json" in said


def test_an_adapter_in_the_models_place_is_named_as_such(tmp_path):
    """The message says where it belongs."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    said = problems(tmp_path, None)
    assert said.endswith("is an adapter and not a model; name it under spec.adapters")


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 8192}}, 8192),
        (
            {
                "max_position_embeddings": 4096,
                "rope_scaling": {"rope_type": "linear", "factor": 4.0},
            },
            16384,
        ),
        (
            {
                "max_position_embeddings": 4096,
                "rope_parameters": {"full_attention": {"type": "dynamic", "factor": 2}},
            },
            8192,
        ),
        *(
            (
                {"max_position_embeddings": 131072, "rope_scaling": {"type": kind, "factor": 8}},
                2**17,
            )
            for kind in ("llama3", "yarn", "longrope", "deepseek_yarn")
        ),
        (
            {
                "model_type": "gemma3_text",
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
            131072,
        ),
        ({"max_position_embeddings": 32768, "sliding_window": 4096}, 32768),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"max_position_embeddings": 8192, "seq_length": 2048}, 2048),
        (
            {"max_position_embeddings": 512, "text_config": {"max_position_embeddings": 8192}},
            8192,
        ),
        ({"max_position_embeddings": 131072, "rope_scaling": {"type": "longrope"}}, 131072),
        ({"max_position_embeddings": True}, None),
        ({"max_position_embeddings": "many"}, None),
        ({}, None),
        ("[]", None),
        ("{", None),
    ],
)
def test_the_longest_context_is_what_the_configuration_says(tmp_path, config, longest):
    """None where it says nothing that can be used: then nothing is refused."""
    said = problems(tmp_path, config, length=(longest or 10**6))
    assert said == ""
    if isinstance(config, dict):
        assert longest_context(config) == longest
    if longest:
        assert f"a context of {longest} tokens" in problems(tmp_path, config, length=longest + 1)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        (4096, 4096),
        ("4096", 4096),
        ("16k", 16000),
        ("16K", 16384),
        ("25.6k", 25600),
        ("auto", None),
        (None, None),
        (True, None),
    ],
)
def test_a_length_is_read_as_vllm_reads_it(value, tokens):
    """Its letters too; what vLLM chooses itself is no length."""
    assert length_asked(value) == tokens


def test_a_configuration_that_a_flag_changes_is_not_judged(tmp_path):
    """With hf-overrides vLLM starts with another context than the folder's."""
    length = "8192, hf-overrides: '{\"max_position_embeddings\": 8192}'"
    assert problems(tmp_path, {"max_position_embeddings": 4096}, length=length) == ""


def test_a_model_without_weights_is_refused(tmp_path):
    """Also one whose weights Git LFS has not fetched; a load format says by itself what it reads."""
    assert "holds a configuration and no weights" in problems(tmp_path, {}, weights="")
    dummy = "100, load-format: dummy"
    assert problems(tmp_path, {}, weights="", length=dummy) == ""
    (tmp_path / "model" / "model.safetensors").write_text("version https://git-lfs.github.com/")
    said = problems(tmp_path, {}, weights="")
    assert "model.safetensors is a Git LFS pointer" in said
    assert "m.yaml:5:19: " in said


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.gguf", "llama.cpp's format (GGUF)"),
        ("pytorch_model.bin", "only weights"),
        ("model-00001-of-00002.safetensors", "only weights"),
        ("tokenizer_config.json", "only a tokenizer"),
        ("checkpoint-20/config.json", "name one of them, such as model/checkpoint-20"),
    ],
)
def test_a_folder_that_is_no_model_is_named_for_what_it_is(tmp_path, name, sentence):
    """At the place of the source, with what to name in its place."""
    (tmp_path / "model" / name).parent.mkdir(parents=True)
    (tmp_path / "model" / name).touch()
    said = problems(tmp_path, None)
    assert said.startswith(str(tmp_path / "m.yaml:5:19: "))
    assert sentence in said


def test_mistrals_own_format_is_a_model(tmp_path):
    """It has params.json and no config.json."""
    (tmp_path / "model").mkdir()
    for name in ("params.json", "consolidated.safetensors"):
        (tmp_path / "model" / name).write_text("{}")
    assert problems(tmp_path, None) == ""


def test_a_model_that_vllm_serves_no_more_is_refused(tmp_path):
    """With its last version; code of the model's own may still serve it."""
    config = {"architectures": ["QWenLMHeadModel"]}
    said = problems(tmp_path, config)
    assert "m.yaml:5:19: vLLM served QWenLMHeadModel until version 0.23.0" in said
    trusted = {"length": "100, trust-remote-code: true", "allow": "allow: [trust-remote-code], "}
    own = {**config, "auto_map": {"AutoModel": "modeling_qwen.QWen"}}
    assert "serves it no more" in problems(tmp_path, own)
    assert problems(tmp_path, own, **trusted) == ""
    assert problems(tmp_path, {"architectures": ["Qwen2ForCausalLM"]}) == ""


def test_a_longer_context_than_the_models_is_refused_at_the_save(tmp_path):
    """With the place and the limit; vLLM would end at its start, minutes later."""
    said = problems(tmp_path, {"max_position_embeddings": 4096}, length=4097)
    assert "m.yaml:6:34: the model has a context of 4096 tokens" in said
    assert "write 4096 or less" in said


def test_a_person_may_insist_with_vllms_own_variable(tmp_path):
    """vLLM takes a longer one then, and so does Moorage."""
    env = '{name: VLLM_ALLOW_LONG_MAX_MODEL_LEN, value: "1"}'
    assert problems(tmp_path, {"max_position_embeddings": 4096}, length=8192, env=env) == ""


CODE = """\
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {{name: web}}
spec:
  code: ./code
  command: [x]
  targetPort: 80
  resources: {resources}
"""


@pytest.mark.parametrize(
    ("resources", "refused"),
    [
        ("{cpu: 0.25, memory: 0.5Gi}", ""),
        ("{cpu: 4, memory: 8Gi}", ""),
        ("{cpu: 0.5}", ""),
        ("{memory: 1Gi}", ""),
        ("{cpu: 1}", "1 cores and 1Gi"),
        ("{memory: 2Gi}", "0.5 cores and 2Gi"),
        ("{cpu: 0.3, memory: 0.6Gi}", "0.3 cores and 0.6Gi"),
        ("{cpu: 8, memory: 16Gi}", "8 cores and 16Gi"),
    ],
)
def test_pairs_of_cpu_and_memory_are_those_of_consumption(tmp_path, resources, refused):
    """Also where the document names no profile, or only one of the two: Azure would refuse the
    write.
    """
    (tmp_path / "code").mkdir()
    (tmp_path / "m.yaml").write_text(CODE.format(resources=resources))
    if not refused:
        load([tmp_path / "m.yaml"])
        return
    with pytest.raises(ManifestError, match=f"no replica of {refused}"):
        load([tmp_path / "m.yaml"])


DEDICATED = """\
apiVersion: moorage.dev/v1alpha1
kind: Environment
metadata: {{name: default}}
spec:
  workloadProfiles: [{{name: own, workloadProfileType: {profile}, minimumCount: 1, maximumCount: 2}}]
---
"""


@pytest.mark.parametrize(
    ("profile", "cores", "gib"),
    [
        ("D4", 4, 16),
        ("D32", 32, 128),
        ("e8", 8, 64),
        ("NC24-A100", 24, 220),
        ("NC48-A100", 48, 440),
    ],
)
def test_a_replica_is_no_larger_than_a_node_of_its_dedicated_profile(tmp_path, profile, cores, gib):
    """Cores and memory need not go together there, and Azure refuses more than a node has."""
    (tmp_path / "code").mkdir()

    def said(cpu, memory):
        resources = f"{{cpu: {cpu}, memory: {memory}Gi}}\n  workloadProfileName: own"
        text = DEDICATED.format(profile=profile) + CODE.format(resources=resources)
        (tmp_path / "m.yaml").write_text(text)
        try:
            load([tmp_path / "m.yaml"])
        except ManifestError as error:
            return str(error)
        return ""

    assert said(cores, gib) == said(1, gib) == ""
    assert f"{profile} has {cores} cores" in said(cores + 1, gib)
    assert f"{profile} has {gib}Gi of memory" in said(cores, gib + 1)
