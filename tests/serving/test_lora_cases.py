"""What trainers and converters leave is judged as vLLM's own LoRA manager judges it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from serving.preflight import check_adapter
from tests.serving.replica_share import ROOT

PYTHON = ROOT / ".venv/images/vllm/bin/python"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_preflight_judges_every_case_as_vllm_does(tmp_path):
    """Accepted is what vLLM takes whole; refused is what it refuses, or ignores a part of."""
    from tests.serving.lora_cases import CASES, make

    make(tmp_path)
    assert not disagreements(tmp_path, {name: case.base for name, case in CASES.items()})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_preflight_judges_every_family_as_vllm_does(tmp_path):
    """A module is accepted under the names and at the places where vLLM's model of it has it: hybrids
    whose layers differ, heads inside vision-language models, names that transformers changed.
    """
    from tests.serving.lora_families import make

    wanted = make(tmp_path)
    assert len(wanted) > 400
    assert not disagreements(tmp_path, wanted)


def disagreements(folder: Path, wanted: dict[str, str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What vLLM and preflight say of adapters that they judge differently. `wanted` gives the base
    of each.
    """
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    script = ROOT / "tests/serving/lora_judge.py"
    quiet = {"VLLM_PLUGINS": "", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    command = [PYTHON, script, folder, json.dumps(wanted)]
    done = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    wrong = {}
    for name, base in wanted.items():
        problems = check_adapter(folder / name, folder / "bases" / base, 16).problems
        if (said[name] == "takes") != (not problems):
            wrong[name] = (said[name], problems)
    return wrong
