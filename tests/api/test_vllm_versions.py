"""What is known of vLLM's versions and flags before any of it runs."""

import json
from pathlib import Path

import pytest

from reconciler.api import vllm_versions
from reconciler.api.vllm_versions import flag_faults, image_faults, version_of
from serving.preflight import SUPPORTED_VLLM


@pytest.mark.parametrize(
    ("image", "version"),
    [
        (None, SUPPORTED_VLLM[-1]),
        ("vllm/vllm-openai:v0.32.0", "0.32.0"),
        ("docker.io/vllm/vllm-openai:v0.32.0@sha256:" + "0" * 64, "0.32.0"),
        ("localhost:5000/team/vllm-openai:0.32.0-cuda13", "0.32.0"),
        ("myregistry.azurecr.io/phi:v1.2.3", None),
        ("vllm/vllm-openai@sha256:" + "0" * 64, None),
        ("vllm/vllm-openai", None),
    ],
)
def test_the_version_is_read_from_an_image_name_that_says_it(image, version):
    """A tag of another repository says nothing about vLLM."""
    assert version_of(image) == version


def test_an_image_of_ones_own_is_the_users_word():
    """What a name does not tell, the replica itself will: only known misfits are refused here."""
    assert not list(image_faults("myregistry.azurecr.io/phi:v1.2.3"))
    assert not list(image_faults("vllm/vllm-openai@sha256:" + "0" * 64))
    assert not list(flag_faults("myregistry.azurecr.io/phi:v1.2.3", {"no-such-flag": 1}))


def test_the_flags_of_every_supported_version_are_known():
    """Supporting another vLLM means making its list of flags."""
    data = json.loads(Path(vllm_versions.__file__).with_name("vllm_flags.json").read_text())
    assert set(data) == set(SUPPORTED_VLLM)
    assert all(set(kinds) == {"switch", "flag", "value", "list"} for kinds in data.values())


@pytest.mark.parametrize(
    "args",
    [
        {
            "max-model-len": 4096,
            "enforce-eager": True,
            "enable-prefix-caching": False,
            "dtype": "bfloat16",
        },
        {
            "cudagraph-capture-sizes": (1, 2),
            "speculative-config": '{"method": "ngram"}',
            "speculative-config.method": "ngram",
        },
    ],
)
def test_real_flags_are_taken(args):
    """Switches, values, lists, JSON as text and its dotted form."""
    assert not list(flag_faults(None, args))
