"""What a model takes, as `/v1/models` says it, asked of the vLLM that serves."""

import json
import subprocess

import pytest

from tests.serving.replica_share import ROOT

ASK = """
import json, sys
from transformers import Blip2Config, LlamaConfig
from vllm.config import ModelConfig
from serving.request.media import modalities

found = {}
for name, config, architecture, more in (
    ("text", LlamaConfig(num_hidden_layers=1), "LlamaForCausalLM", {}),
    ("images", Blip2Config(), "Blip2ForConditionalGeneration", {}),
    ("forbidden", Blip2Config(), "Blip2ForConditionalGeneration", {"limit_mm_per_prompt": {"image": 0}}),
):
    folder = f"{sys.argv[1]}/{name}"
    config.architectures = [architecture]
    config.save_pretrained(folder)
    model = ModelConfig(model=folder, tokenizer=folder, skip_tokenizer_init=True, dtype="float32",
                        enforce_eager=True, max_model_len=512, **more)
    found[name] = modalities(model)
found["unknown"] = modalities(object())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_model_says_whether_it_takes_images(tmp_path):
    """Images where vLLM's class reads them and the document's `limit-mm-per-prompt` leaves some;
    text alone where vLLM cannot be asked.
    """
    done = subprocess.run(
        [ROOT / ".venv/images/vllm/bin/python", "-c", ASK, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "text": ["text"],
        "images": ["text", "image"],
        "forbidden": ["text"],
        "unknown": ["text"],
    }
