"""The wheel holds everything that the commands read at run time, not only the modules."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("reconciler", "serving", "infra")
# Files beside the modules that no command of an installed Moorage opens.
ELSEWHERE = ("infra/deploy/", "infra/decisions/", "infra/provision/")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names in a wheel that is built from a copy of the checkout."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, copy / package, ignore=ignore)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, str(out)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_every_file_beside_a_module_is_in_the_wheel(names):
    """Templates, styles, tables and schemas of the packages travel with them."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [name for name in listed.stdout.split() if not name.startswith(ELSEWHERE)]
    assert "reconciler/web/templates/base.html" in files
    assert [name for name in files if name not in names and (ROOT / name).exists()] == []
