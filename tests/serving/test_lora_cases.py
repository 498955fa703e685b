"""What trainers and converters leave is judged as vLLM's own LoRA manager judges it."""

import json
import os
import subprocess

import pytest

from serving.preflight import check_adapter
from tests.serving.replica_share import ROOT

PYTHON = ROOT / ".venv/images/vllm/bin/python"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_preflight_judges_every_case_as_vllm_does(tmp_path):
    """Accepted is what vLLM takes whole; refused is what it refuses, or ignores a part of."""
    if not PYTHON.exists():
        pytest.skip("the vLLM image's environment is not installed")
    from tests.serving.lora_cases import CASES, make

    make(tmp_path)
    script, wanted = ROOT / "tests/serving/lora_judge.py", {n: c.base for n, c in CASES.items()}
    quiet = {"VLLM_PLUGINS": "", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    command = [PYTHON, script, tmp_path, json.dumps(wanted)]
    done = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    wrong = {}
    for name, base in wanted.items():
        problems = check_adapter(tmp_path / name, tmp_path / "bases" / base, 16).problems
        if (said[name] == "takes") != (not problems):
            wrong[name] = (said[name], problems)
    assert not wrong
