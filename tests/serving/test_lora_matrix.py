"""Architectures times ways of training a LoRA: what the vLLM of the image does with each is what
preflight says of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.half_floats import convert
from serving.preflight import check_adapter
from tests.serving.replica_share import ROOT

PYTHON = ROOT / ".venv/images/vllm/bin/python"
# Two computations of one model in float32; the adapters move some tokens by 0.2 and more. Where
# vLLM and transformers differ in the base (Gemma 2: 0.0025), adapters may differ by more.
SAME, MORE = 2e-3, 10
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
QUICK = ("attention", "lm-head", "short-names")
# And no mixture of experts: vLLM's LoRA for it needs Triton, which the CPU image lacks.
ALL = (
    *("llama", "llama-tied", "qwen2", "phi3", "gemma2", "opt", "mistral", "gpt2", "gptneox"),
    *("phi", "cohere", "glm4", "qwen3", "olmo2", "granite", "starcoder2", "stablelm"),
)
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def asked(base: Path, adapters: list[Path], log: Path, dtype: str = "float32") -> dict[str, Any]:
    """What vLLM does with each adapter; "base" is text where it takes no LoRA at all."""
    from tests.serving.lora_matrix import PROMPTS

    script = ROOT / "tests/serving/lora_engine.py"
    with log.open("wb") as errors:
        done = subprocess.run(
            [PYTHON, script, base, dtype, json.dumps(PROMPTS), *adapters],
            env={**os.environ, **ENVIRONMENT},
            stdout=subprocess.PIPE,
            stderr=errors,
            check=False,
        )
    assert done.returncode == 0, log.read_text()[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def apart(answers: list[dict[str, float]], reference: list[list[float]]) -> float:
    """The largest difference between vLLM's log-probabilities and those of peft."""
    return max(
        abs(value - expected[int(token)])
        for row, expected in zip(answers, reference, strict=True)
        for token, value in row.items()
        if math.isfinite(value)
    )


def verdict(answer: Any, reference: list[list[float]], off: float, base: Any) -> str:
    """What vLLM did, in a word; `base` is its own answer without the adapter, and `off` how far
    that is from peft's.
    """
    if isinstance(answer, str):
        return "refused"
    shared = [
        abs(value - without[token])
        for row, without in zip(answer, base, strict=True)
        for token, value in row.items()
        if token in without and math.isfinite(value)
    ]
    if max(shared) < SAME:
        return "answers as the base"
    same = apart(answer, reference) < max(SAME, MORE * off)
    return "serves it" if same else "answers otherwise than peft"


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        pytest.param(
            "qwen2", QUICK, id="qwen2 quickly", marks=[pytest.mark.slow, pytest.mark.vital]
        ),
        *(pytest.param(name, (), marks=pytest.mark.slow, id=name) for name in ALL),
    ],
)
def test_preflight_says_what_vllm_does(tmp_path, name, variants):
    """Accepted is what vLLM serves as peft computes it; all else is refused beforehand."""
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    from tests.serving.lora_matrix import VARIANTS, make

    reference = make(tmp_path, name, variants or VARIANTS)
    adapters = [tmp_path / variant for variant in reference if variant != "base"]
    found = asked(tmp_path / "base", adapters, tmp_path / "log")
    judged, done = {}, {}
    refused = isinstance(found["base"], str)
    off = 0.0 if refused else apart(found["base"], reference["base"])
    for folder in adapters:
        problems = check_adapter(folder, tmp_path / "base", 16).problems
        judged[folder.name] = "not served" if problems else "served"
        answer = found["base"] if refused else found[folder.name]
        what = verdict(answer, reference[folder.name], off, found["base"])
        done[folder.name] = "served" if what == "serves it" else "not served"
        print(f"{name:12}{folder.name:22}vLLM: {what:28}preflight: {problems[:1] or 'accepted'}")
    assert judged == done


@pytest.mark.slow
@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_an_adapter_in_the_engines_type_answers_as_its_source(tmp_path, half):
    """VLLM casts a LoRA of 32 bits to the engine's type when it loads it, so the published copy in
    that type gives the same log-probabilities, digit for digit.
    """
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    from tests.serving.lora_matrix import make

    names = ("all", "lm-head", "rslora", "patterns")
    make(tmp_path, "llama", names)
    adapters = []
    for name in names:
        source, copy = tmp_path / name, tmp_path / f"{name}-{half}"
        weights = source / "adapter_model.safetensors"
        shutil.copytree(source, copy)
        (copy / weights.name).unlink()
        convert(
            weights, copy / weights.name, half, hashlib.sha256(weights.read_bytes()).hexdigest()
        )
        assert (copy / weights.name).stat().st_size < 0.6 * weights.stat().st_size
        adapters += [source, copy]
    found = asked(tmp_path / "base", adapters, tmp_path / "log", half)
    for name in names:
        assert found[name] != found["base"]
        assert found[name] == found[f"{name}-{half}"]


@pytest.mark.slow
def test_a_lora_on_a_layer_with_a_second_holder_has_no_effect(tmp_path):
    """The attention of DeepSeek works with what it has taken from kv_b_proj, so vLLM loads a LoRA on
    that module and answers as the base: preflight refuses it. (The bases themselves are too far
    apart here, so this architecture is none of ALL.)
    """
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    from tests.serving.lora_matrix import make

    reference = make(tmp_path, "deepseek2", ("attention", "second-holder"))
    adapters = [tmp_path / name for name in ("attention", "second-holder")]
    found = asked(tmp_path / "base", adapters, tmp_path / "log")
    off = apart(found["base"], reference["base"])
    done = {
        one.name: verdict(found[one.name], reference[one.name], off, found["base"])
        for one in adapters
    }
    assert done["second-holder"] == "answers as the base"
    assert done["attention"] != "answers as the base"
    refused = {
        one.name: bool(check_adapter(one, tmp_path / "base", 16).problems) for one in adapters
    }
    assert refused == {"attention": False, "second-holder": True}
