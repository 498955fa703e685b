"""The compiled modules of the gateway's runtime: the same bytes each time, used where they fit, and
never in the way of a start.
"""

import hashlib
import subprocess
import sys

import pytest

from serving.gateway import compiled

FILES = {
    "box/__init__.py": b"WORDS = {'one', 'two', 'three'}\nfrom box.lid import shut\n",
    "box/lid.py": b"def shut(word):\n    return word in {'one', 'two', 'three'} or 1 / 0\n",
    "old.py": b"print 'of another Python'\n",
}
USE = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from serving.gateway.compiled import find_compiled
print(find_compiled(Path(sys.argv[1])))
import box
print(box.shut("two"), type(sys.modules["box.lid"].__loader__).__name__, box.__path__)
import logging
try:
    box.shut("four")
except ZeroDivisionError:
    logging.exception("it failed")
"""
PACK = """
import hashlib
from serving.gateway.compiled import pack
from tests.serving.gateway.test_compiled import FILES
print(hashlib.sha256(pack(FILES)).hexdigest())
"""


def python(script, *arguments, seed="0"):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
    return tmp_path


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_same_modules_give_the_same_bytes_in_every_process(seed):
    """Otherwise each restart of the daemon would publish a new runtime and replace the gateway."""
    here = hashlib.sha256(compiled.pack(FILES)).hexdigest()
    assert python(PACK, seed=seed).stdout.strip() == here


def test_modules_are_imported_compiled_and_tracebacks_show_their_source(folder):
    """A package and its module; what could not be compiled is left out and hurts nobody."""
    (folder / compiled.NAME).write_bytes(compiled.pack(FILES))
    done = python(USE, folder)
    assert done.stdout.splitlines() == ["True", f"True _Loader ['{folder}/box']"]
    assert "in {'one', 'two', 'three'} or 1 / 0" in done.stderr
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="none"),
        pytest.param(b"", id="empty"),
        pytest.param(b"moorage modules 1\n\0\0\0\0", id="of another Python"),
        pytest.param(compiled.pack(FILES)[:-40], id="cut"),
        pytest.param(compiled.pack({})[:-1] + b"\xff", id="damaged"),
    ],
)
def test_a_file_that_cannot_be_used_costs_only_the_time(folder, data):
    """The modules are imported from their sources."""
    if data is not None:
        (folder / compiled.NAME).write_bytes(data)
    done = python(USE, folder)
    assert done.stdout.splitlines() == ["False", f"True SourceFileLoader ['{folder}/box']"]


def test_a_damaged_module_is_imported_from_its_source(folder):
    """One bad entry does not spoil the others."""
    good = compiled.pack(FILES)
    at = good.index(b"box/lid.py") + 20
    (folder / compiled.NAME).write_bytes(good[:at] + b"\0\0\0\0" + good[at + 4 :])
    done = python(USE, folder)
    assert done.stdout.splitlines()[:2] == ["True", f"True _Loader ['{folder}/box']"]
