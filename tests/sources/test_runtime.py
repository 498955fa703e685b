"""The runtime that travels to the share is the serving package, found by vLLM through its own
metadata.
"""

import configparser
import tomllib
from pathlib import Path

from reconciler.sources.runtime import build_runtime
from serving import ENTRY_POINTS

ROOT = Path(__file__).parents[2]


def test_the_entry_points_are_those_of_an_installation():
    """pyproject.toml and the runtime name the same plugins."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared == ENTRY_POINTS


def test_the_runtime_is_the_serving_package_without_training(tmp_path):
    """Every module a replica needs travels, training does not, and the same release gives the same
    folder.
    """
    folder = build_runtime(tmp_path)
    assert build_runtime(tmp_path) == folder
    modules = {path.name for path in (folder / "serving").rglob("*.py")}
    assert {"launch.py", "plugin.py", "gate.py", "cpu_lora.py"} <= modules
    assert not (folder / "serving" / "training").exists()
    parser = configparser.ConfigParser()
    parser.read(next(folder.glob("*.dist-info")) / "entry_points.txt")
    assert {group: dict(parser[group]) for group in parser.sections()} == ENTRY_POINTS
