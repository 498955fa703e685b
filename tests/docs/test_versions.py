"""The version of vLLM is said once, in the serving runtime; every other mention agrees with it."""

import re
import subprocess
from pathlib import Path

from reconciler.composition.service import VLLM_IMAGE
from serving.preflight import SUPPORTED_VLLM

ROOT = Path(__file__).parents[2]
MENTION = re.compile(r"(?:vllm(?:-cpu)?==|vllm-openai:v?|vLLM )(?P<version>\d+\.\d+\.\d+)")
HISTORY = ("CHANGELOG.md", "infra/decisions/", "tests/")
# Where a version must stand because no code reads it from the runtime.
PINS = {
    "README.md",
    "infra/local_azure/images.yaml",
    "manifests/examples/service-full.yaml",
    "pyproject.toml",
    "requirements/hashes.list",
    "requirements/vllm-cpu.in",
    "requirements/vllm-cpu.txt",
    "requirements/vllm-gpu.in",
    "requirements/vllm-gpu.txt",
}


def test_every_mention_is_the_version_the_runtime_was_tested_with():
    """A pin, an example or a page with another version would install, or promise, what fails."""
    found = _mentions()
    assert found.keys() == PINS
    assert {version for versions in found.values() for version in versions} == {SUPPORTED_VLLM[-1]}


def test_the_default_image_is_of_that_version():
    """A service that names no image gets the newest version that the runtime was tested with."""
    assert f"docker.io/vllm/vllm-openai:v{SUPPORTED_VLLM[-1]}" == VLLM_IMAGE


def _mentions():
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = {}
    for name in files:
        path = ROOT / name
        if name.startswith(HISTORY) or not path.is_file():
            continue
        versions = set(MENTION.findall(path.read_text(encoding="utf-8", errors="ignore")))
        if versions:
            found[name] = versions
    return found
