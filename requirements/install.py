"""`make install`: the environments of this checkout, exactly as the lock files say. Standard
library only.

.venv is the product with training and tools; .venv/images/* stand for container images
(infra/local_azure/runtime/images.yaml) and hold what those hold and nothing else. Each environment
carries a stamp; one that matches its locks is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
VENV = ROOT / ".venv"
UV = VENV / "bin" / "uv"
LOG = VENV / "install.log"
PIN = re.compile(
    r"^(?P<pin>(?P<name>[A-Za-z0-9._-]+)==[^ ;]+)(?: ; python_version >="
    r" \"3\.(?P<minor>\d+)\")?\s+# (?P<size>[\d.]+) MB"
)
# measured: what is unpacked takes this many times its download, for small and for large packages
# alike
DISK_FACTOR = 3.7
BEAT = 10.0  # seconds without a word at most
GPU_MINOR = 12  # vLLM's CUDA requirements have wheels up to this Python 3 minor version


class InstallError(Exception):
    """One sentence that says what is missing and what to do."""


Command = list[str | Path]


@dataclass(frozen=True)
class Environment:
    """A virtual environment, the locks that make it, and whether its torch and vLLM are for a `cpu`
    or a `gpu`.
    """

    folder: Path
    locks: tuple[str, ...]
    variant: str = "cpu"
    product: bool = False

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.folder / ".installed"

    def digest(self) -> str:
        """Of all that decides the content: the locks, the interpreter, and for the product its own
        packaging.
        """
        parts = [
            sys.version.split()[0],
            self.variant,
            *((LOCKS / f"{name}.txt").read_text(encoding="utf-8") for name in self.locks),
        ]
        if self.product:
            pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
            parts.append(
                json.dumps(
                    [pyproject["project"], pyproject["build-system"], str(ROOT)], sort_keys=True
                )
            )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def has_torch(self) -> bool:
        """Whether it holds the torch of its locks already, in the build its variant means."""
        version = next(
            pin
            for pin in read_lock(self.locks[-1] if not self.product else "train")
            if pin.startswith("torch==")
        )
        found = [
            path.name
            for path in self.folder.glob(
                f"lib/python3*/site-packages/{version.replace('==', '-')}*.dist-info"
            )
        ]
        return bool(found) and ("+cpu" in found[0]) == (self.variant == "cpu")

    def stands(self) -> bool:
        return (
            self.python.exists()
            and self.stamp.exists()
            and self.stamp.read_text(encoding="utf-8").strip() == self.digest()
        )


def main() -> int:
    started = time.monotonic()
    try:
        variant = choose_variant()
        product = Environment(
            VENV, ("tools", "product", "train", "chat", "dev"), variant, product=True
        )
        images = (
            Environment(VENV / "images" / "vllm", (f"vllm-{variant}",), variant),
            Environment(VENV / "images" / "python", ()),
        )
        stale = [environment for environment in (product, *images) if not environment.stands()]
        if not stale:
            return 0
        announce(stale, variant)
        install(stale, variant)
    except InstallError as error:
        print(f"make install: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nmake install: stopped; the next run goes on with what is downloaded already",
            file=sys.stderr,
        )
        return 130
    say(f"Installed in {time.monotonic() - started:.0f} s.")
    return 0


def choose_variant() -> str:
    """Either cpu or gpu: what `make install VLLM=...` says, else whether this machine shows an
    NVIDIA device.
    """
    wanted = os.environ.get("VLLM") or (
        "gpu"
        if Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/gpus").exists()
        else "cpu"
    )
    if wanted not in ("cpu", "gpu"):
        raise InstallError(f"VLLM={wanted} is not known; VLLM=cpu or VLLM=gpu")
    if wanted == "gpu" and sys.version_info[1] > GPU_MINOR:
        raise InstallError(
            f"vLLM's GPU build needs Python 3.11 or 3.{GPU_MINOR}; name one with PYTHON=, or take"
            " VLLM=cpu"
        )
    return wanted


def announce(stale: Sequence[Environment], variant: str) -> None:
    """Say what will be downloaded and the disk it takes, before anything happens; refuse where it
    cannot fit.
    """
    there = {
        pin for environment in (VENV, VENV / "images" / "vllm") for pin in installed(environment)
    }
    missing: dict[str, float] = {}
    for environment in stale:
        for name in environment.locks:
            missing.update({pin: size for pin, size in read_lock(name).items() if pin not in there})
    if variant == "gpu":  # torch comes with its CUDA parts, in .venv too
        missing.update(
            {pin: size for pin, size in read_lock("vllm-gpu").items() if pin not in there}
        )
    download = sum(missing.values())
    disk = download * DISK_FACTOR
    what = (
        "nothing to download"
        if not missing
        else (
            f"{len(missing)} packages, a download of {size_text(download)} at most and"
            f" {size_text(disk)} of disk"
        )
    )
    say(
        f"Installing into {VENV.name}/: {what} (vLLM for {variant.upper()}). What is cached is not"
        " fetched again."
    )
    free = shutil.disk_usage(ROOT).free / 1e6
    if free < disk * 1.1 + 200:
        raise InstallError(
            f"not enough room: {size_text(free)} are free on the disk of {ROOT},"
            f" {size_text(disk * 1.1 + 200)} are needed"
        )


def install(stale: Sequence[Environment], variant: str) -> None:
    prepare_product_folder()
    torch = torch_source(variant)
    for environment in stale:
        title = str(environment.folder.relative_to(ROOT))
        if not environment.product:
            shutil.rmtree(environment.folder, ignore_errors=True)
            run(
                f"{title}: an empty environment",
                [VENV / "bin" / "python", "-m", "venv", "--without-pip", environment.folder],
            )
        locks = [LOCKS / f"{name}.txt" for name in environment.locks if name != "tools"]
        if locks:
            size = sum(
                size
                for lock in locks
                for pin, size in read_lock(lock.stem).items()
                if not pin.startswith("torch==")
            )
            into: Command = [UV, "pip", "install", "--python", environment.python]
            constraint = LOCKS / (
                "vllm-gpu.txt"
                if variant == "gpu"
                else f"{'train' if environment.product else 'vllm-cpu'}.txt"
            )
            if not environment.has_torch():
                run(f"{title}: torch", [*into, *torch(), "-c", constraint])
            everything: Command = [item for lock in locks for item in ("-r", lock)]
            run(
                f"{title}: {' and '.join(lock.stem for lock in locks)} ({size_text(size)})",
                [*into, "--no-deps", *everything],
            )
        if locks and not environment.product:
            # A replica cannot write into its image, so what is not compiled now is compiled at
            # every start, three times over: 30 s each on two cores.
            compile_: Command = [
                environment.python,
                "-m",
                "compileall",
                "-q",
                "-j",
                "0",
                environment.folder / "lib",
            ]
            run(
                f"{title}: bytecode", compile_, must=False
            )  # a template file in a package is no module, which it complains of
        if environment.product:
            # compat: a plain path in a .pth file; the default installs an import hook that slows
            # every start by 40 ms.
            editable: Command = [
                "--no-deps",
                "--no-build-isolation",
                "-C",
                "editable_mode=compat",
                "-e",
                ROOT,
            ]
            run(
                f"{title}: moorage itself",
                [UV, "pip", "install", "--python", environment.python, *editable],
            )
        environment.stamp.write_text(environment.digest() + "\n", encoding="utf-8")
    shutil.rmtree(VENV / "wheels", ignore_errors=True)


def prepare_product_folder() -> None:
    """A .venv with pip and uv; one that another Python made is made anew."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise InstallError(
            f"{sys.executable} comes without the venv module; on Debian and Ubuntu: apt install"
            " python3-venv"
        ) from None
    config = VENV / "pyvenv.cfg"
    mine = f"version = {sys.version.split()[0]}"
    if (
        not (VENV / "bin" / "pip").exists()
        or not config.exists()
        or mine not in config.read_text(encoding="utf-8")
    ):
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        run(".venv: an empty environment", [sys.executable, "-m", "venv", VENV])
    tools = LOCKS / "tools.txt"
    if not set(read_lock("tools")) <= installed(VENV):
        run(
            f".venv: uv ({size_text(sum(read_lock('tools').values()))})",
            [VENV / "bin" / "pip", "install", "-q", "-r", tools],
        )


def torch_source(variant: str) -> Callable[[], Command]:
    """What uv is told to install as torch. Only pip reads pip's configuration, where a machine
    names its CPU wheels; so pip is asked first, once for all environments, and uv's own idea of the
    CPU build is the way where pip knows of none.
    """
    pin = next(pin for pin in read_lock("train") if pin.startswith("torch=="))
    chosen: Command = []

    def choose() -> Command:
        if chosen:
            return chosen
        if variant == "gpu":
            chosen.append(pin)
            return chosen
        pip: Command = [
            VENV / "bin" / "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            VENV / "wheels",
            f"{pin}+cpu",
        ]
        size = size_text(read_lock("train")[pin])
        if run(f"torch's CPU build ({size})", pip, must=False):
            chosen.extend((VENV / "wheels").glob("torch-*.whl"))
        else:
            chosen.extend((pin, "--torch-backend", "cpu"))
        return chosen

    return choose


def run(title: str, command: Sequence[str | Path], *, must: bool = True) -> bool:
    """Run one step with its output in the log, a line when it ends and one every ten seconds until
    then.
    """
    started = before = time.monotonic()
    used = shutil.disk_usage(ROOT).used
    environment = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONWARNINGS": "ignore",
        **uv_index(),
    }
    environment.pop("VIRTUAL_ENV", None)
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, cwd=ROOT, env=environment
        )
        while process.poll() is None:
            time.sleep(0.05)
            if time.monotonic() - before > BEAT:
                before = time.monotonic()
                grown = (shutil.disk_usage(ROOT).used - used) / 1e6
                say(f"  {title} ... {before - started:.0f} s, {size_text(max(grown, 0))} written")
    if process.returncode == 0:
        say(f"  {title}: {time.monotonic() - started:.1f} s")
    elif must:
        with LOG.open("rb") as log:
            log.seek(start)
            last = [
                line for line in log.read().decode(errors="replace").splitlines() if line.strip()
            ][-12:]
        raise InstallError(
            "\n  ".join([f"{title} failed; the end of {LOG.relative_to(ROOT)}:", *last])
        )
    return process.returncode == 0


def uv_index() -> dict[str, str]:
    """Help uv, which does not read pip's configuration: a machine that names its package index
    there means it for both.
    """
    if (
        "UV_DEFAULT_INDEX" in os.environ
        or "UV_INDEX_URL" in os.environ
        or not (VENV / "bin" / "pip").exists()
    ):
        return {}
    if "index" not in _FOUND:
        listed = subprocess.run(
            [VENV / "bin" / "pip", "config", "list"], capture_output=True, text=True, check=False
        ).stdout
        match = re.search(r"^(?:global|install|:env:)\.index-url='(.+)'$", listed, re.MULTILINE)
        _FOUND["index"] = {"UV_DEFAULT_INDEX": match[1]} if match else {}
    return _FOUND["index"]


_FOUND: dict[str, dict[str, str]] = {}


def read_lock(name: str) -> dict[str, float]:
    """The pins of one lock that count for this Python, with their download size in MB."""
    found = (
        PIN.match(line) for line in (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    )
    return {
        match["pin"]: float(match["size"])
        for match in found
        if match and int(match["minor"] or 0) <= sys.version_info[1]
    }


def installed(folder: Path) -> set[str]:
    """`name==version` of what an environment holds, in the spelling of the locks."""
    metadata = folder.glob("lib/python3*/site-packages/*.dist-info")
    names = (path.name.removesuffix(".dist-info").rpartition("-") for path in metadata)
    return {
        f"{re.sub(r'[-_.]+', '-', name).lower()}=={version.partition('+')[0]}"
        for name, _, version in names
    }


def size_text(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
