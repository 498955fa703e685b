"""What looking costs with 100 services that each serve a model with two adapters, and what a
changed adapter then costs.

Their replicas are `stand_in` processes, which the local Azure is told to take for the vLLM image:
the daemon's side of the contract is real, and no model is loaded. Neighbour: `resync` measures
services without replicas in the same way.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests import tiny_model
from tests.benchmarks import resync, stand_in
from tests.benchmarks.house import House, save
from tests.benchmarks.report import Figure, Section

SERVICES = 100
WORDS = ("red", "green")
PYTHON = '- image: ["*library/python:3.1*"]\n  environment: .venv/images/python\n'


def measure(services: int = SERVICES) -> Section:
    row = resync.at_rest(services, prepare)
    named = dict(zip(resync.COLUMNS, row, strict=True))
    figures = [
        Figure(
            f"steady resync of {services} models with two adapters",
            named["resync ARM"],
            "ARM calls",
            12,
            "at most",
        ),
        Figure(
            f"daemon with {services} models with two adapters",
            named["peak MB"],
            "MB",
            150,
            "at most",
        ),
    ]
    notes = [
        (
            "One replica each, all with a report that changes every 5 s; one base model, two"
            " adapters of its own per service."
        ),
        (
            "The replicas are stand-ins that load nothing; what the daemon does for them is what it"
            " does for vLLM."
        ),
    ]
    return Section("Looking at models", figures, resync.COLUMNS, [row], notes)


def prepare(one: House, services: int) -> None:
    """Write the documents, and start the local Azure with stand-ins for vLLM."""
    one.start_azure("--images", str(images(one.folder / "image")))
    tiny_model.build(one.folder / "made", WORDS)
    shutil.copytree(one.folder / "made" / "model", one.documents / "model")
    for number in range(services):
        names = [f"{word}-{number:03}" for word in WORDS]
        for word, name in zip(WORDS, names, strict=True):
            shutil.copytree(
                one.folder / "made" / "adapters" / word, one.documents / "adapters" / name
            )
        save(one.documents / f"service-{number:03}.yaml", _document(f"phi-{number:03}", names))


def _document(name: str, adapters: list[str]) -> str:
    lines = [
        "apiVersion: moorage.dev/v1alpha1",
        "kind: InferenceService",
        f"metadata: {{name: {name}}}",
        "spec:",
        "  model: {source: ./model}",
        "  adapters:",
        *(f"    - {{name: {adapter}, source: ./adapters/{adapter}}}" for adapter in adapters),
        "  workloadProfileName: Consumption",
        "  scale: {minReplicas: 1, maxReplicas: 1}",
    ]
    return "\n".join(lines) + "\n"


def images(environment: Path) -> Path:
    """An environment whose python3 is the stand-in, and the file that maps the vLLM image to it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    shutil.copy(stand_in.__file__, environment / "stand_in.py")
    python = environment / "bin" / "python3"
    python.unlink()
    python.write_text(
        f'#!/bin/sh\nexec "{environment}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"'
        f' "{environment}/stand_in.py"\n'
    )
    python.chmod(0o755)
    file = environment / "images.yaml"
    file.write_text(f'- image: ["*vllm*"]\n  environment: {environment}\n{PYTHON}')
    return file
