"""A model's folder is looked into at the save: what cannot be served is refused with its place."""

import json

import pytest

from reconciler.api.manifest import ManifestError, load
from reconciler.api.models import longest_context

DOCUMENT = """\
apiVersion: moorage.dev/v1alpha1
kind: InferenceService
metadata: {{name: phi}}
spec:
  model: {{source: ./model}}
  engine: {{args: {{max-model-len: {length}}}}}
  env: [{env}]
"""


def problems(folder, config, length=100, env=""):
    """What `load` says of a document beside a model with this configuration."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    if config is not None:
        (model / "config.json").write_text(
            config if isinstance(config, str) else json.dumps(config)
        )
    (folder / "m.yaml").write_text(DOCUMENT.format(length=length, env=env))
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
                "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
            },
            16384,
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
    assert longest_context(tmp_path / "model") == longest


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
