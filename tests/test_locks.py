"""The lock files are complete, agree with each other, and say what they cost."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted(path.stem for path in (ROOT / "requirements").glob("*.txt"))


class Usage(NamedTuple):
    total: int
    used: int
    free: int


UV = Path(sys.executable).with_name("uv")
# The installer runs before anything is installed, so it is a script with modules beside it.
INSTALLER = {path.stem for path in (ROOT / "requirements").glob("*.py")}
PRODUCT = ("tools", "product", "train", "chat", "dev")


@pytest.fixture(scope="module")
def install():
    before = {*sys.modules}
    sys.path.insert(0, str(ROOT / "requirements"))
    try:
        yield importlib.import_module("install")
    finally:
        sys.path.remove(str(ROOT / "requirements"))
        for name in INSTALLER & sys.modules.keys() - before:
            del sys.modules[name]


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_one_pin_with_its_size(install, name):
    """No line is skipped unseen, no package is pinned twice, and no file names a host."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]

    matches = [sys.modules["pins"].PIN.match(line) for line in lines]

    assert lines
    assert [line for line, match in zip(lines, matches, strict=True) if match is None] == []
    assert len({match["name"] for match in matches}) == len(lines)
    assert "://" not in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_but_torch_has_the_hashes_of_its_files(install, name):
    """A pin without one would end an installation, and a hash without a pin has lost its use."""
    pins = sys.modules["pins"]
    for minor in (11, 12, 13, 14):
        wanted = [pin for pin in install.read_lock(name, minor) if not pin.startswith("torch==")]
        lines = pins.hashed(wanted)
        assert len(lines) == len(wanted)
        for line in lines:
            assert re.fullmatch(r"[^ ]+==[^ ]+( --hash=sha256:[0-9a-f]{64})+", line), line


def test_a_file_with_another_hash_is_not_installed(install, monkeypatch, tmp_path):
    """uv compares before it unpacks; the file comes from a folder, nothing is fetched."""
    monkeypatch.setattr(install, "VENV", tmp_path)
    pin = next(pin for pin in install.read_lock("product") if pin.startswith("click=="))
    wheel = tmp_path / f"{pin.replace('==', '-')}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("click/__init__.py", "not what was published")
    monkeypatch.setattr(install, "read_lock", lambda _name: {pin: 0.1})
    command = [UV, "pip", "install", "--target", tmp_path / "into", "--no-deps", "--no-index"]
    command += ["--no-cache", "--find-links", tmp_path, *install.checked("any")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr


def test_one_environment_has_one_version_of_each_package(install):
    """product, train, dev and tools are installed together, so they agree."""
    chosen = {}
    for name in PRODUCT:
        for pin in install.read_lock(name):
            package, _, version = pin.partition("==")
            assert chosen.setdefault(package, version) == version, pin


def test_every_dependency_of_the_project_is_locked(install):
    """What pyproject.toml asks for is in product.txt, its training extra in train.txt, its chat in
    chat.txt.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for wanted, name in (
        (project["dependencies"], "product"),
        (extras["train"], "train"),
        (extras["chat"], "chat"),
    ):
        locked = {pin.partition("==")[0] for pin in install.read_lock(name)}
        assert {re.split(r"[><=~]", line)[0].replace(".", "-") for line in wanted} <= locked


def test_the_image_holds_no_cuda_on_a_cpu(install):
    """A CPU machine downloads no part that only a GPU uses."""
    assert not [
        pin
        for name in ("train", "vllm-cpu")
        for pin in install.read_lock(name)
        if re.match("nvidia|cuda|triton", pin)
    ]


def test_says_the_cost_and_refuses_a_full_disk(install, monkeypatch, capsys, tmp_path):
    """The download and the disk it takes come first; where they do not fit, nothing is begun."""
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10, 9, 1_000_000))
    environment = install.Environment(tmp_path / ".venv", PRODUCT)

    with pytest.raises(install.InstallError, match=r"not enough room: 1 MB are free"):
        install.announce([environment], "cpu")

    assert re.search(
        r"packages, a download of \d+ MB at most and [\d.]+ GB of disk", capsys.readouterr().out
    )


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_the_vllm_of_a_machine_can_be_chosen(install, monkeypatch, variant):
    """VLLM= overrides what the machine shows; anything else is refused."""
    monkeypatch.setattr(install.sys, "version_info", (3, 12))
    monkeypatch.setenv("VLLM", variant)
    assert install.choose_variant() == variant
    monkeypatch.setenv("VLLM", "tpu")
    with pytest.raises(install.InstallError, match="VLLM=cpu or VLLM=gpu"):
        install.choose_variant()
