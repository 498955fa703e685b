"""`make install`: the environments of this checkout, exactly as the lock files say. Standard
library only.

.venv is the product with training and tools; .venv/images/* stand for container images
(infra/local_azure/images.yaml) and hold what those hold and nothing else. Each environment
carries a stamp; one that matches its locks is left alone.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from environments import ROOT, VENV, Environment, installed
from pins import LOCKS, hashed, read_lock, size_text
from steps import UV, Command, InstallError, of_pip, run, say

# measured: what is unpacked takes this many times its download, for small and for large packages
# alike
DISK_FACTOR = 3.7
GPU_MINOR = 12  # vLLM's CUDA requirements have wheels up to this Python 3 minor version


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
        install(stale)
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


def install(stale: Sequence[Environment]) -> None:
    prepare_product_folder()
    for environment in stale:
        title = str(environment.folder.relative_to(ROOT))
        if not environment.product:
            shutil.rmtree(environment.folder, ignore_errors=True)
            run(
                f"{title}: an empty environment",
                [VENV / "bin" / "python", "-m", "venv", "--without-pip", environment.folder],
            )
        if any(name != "tools" for name in environment.locks):
            install_locks(environment, title)
        if environment.product:
            install_product(environment, title)
        environment.stamp.write_text(environment.digest() + "\n", encoding="utf-8")


def install_locks(environment: Environment, title: str) -> None:
    locks = [LOCKS / f"{name}.txt" for name in environment.locks if name != "tools"]
    size = sum(
        size
        for lock in locks
        for pin, size in read_lock(lock.stem).items()
        if not pin.startswith("torch==")
    )
    into: Command = [UV, "pip", "install", "--python", environment.python]
    if not environment.has_torch():
        install_torch(environment, title, into)
    run(
        f"{title}: {' and '.join(lock.stem for lock in locks)} ({size_text(size)})",
        [*into, "--no-deps", *checked(*(lock.stem for lock in locks))],
    )
    if not environment.product:
        # A replica cannot write into its image, so what is not compiled now is compiled at every
        # start, three times over: 30 s each on two cores. A template file in a package is no
        # module, which compileall complains of; so it need not succeed.
        compile_all: Command = [environment.python, "-m", "compileall", "-q", "-j", "0"]
        run(f"{title}: bytecode", [*compile_all, environment.folder / "lib"], must=False)


def install_torch(environment: Environment, title: str, into: Command) -> None:
    """Only pip reads pip's configuration, where a machine may name its CPU wheels; so uv is told of
    those places, and takes its own idea of the CPU build where they have none. It unpacks a wheel
    once for all checkouts, as long as the wheel stays in one place.
    """
    pin = next(pin for pin in read_lock("train") if pin.startswith("torch=="))
    if environment.variant == "gpu":
        # With what it depends on: its CUDA parts.
        run(f"{title}: torch", [*into, pin, "-c", LOCKS / "vllm-gpu.txt"])
        return
    places: Command = []
    for setting in ("find-links", "extra-index-url"):
        places += [part for value in of_pip(setting) for part in (f"--{setting}", value)]
    step = f"{title}: torch's CPU build ({size_text(read_lock('train')[pin])})"
    # What it depends on comes by the locks, with hashes.
    into = [*into, "--no-deps"]
    if not run(step, [*into, f"{pin}+cpu", *places], must=False):
        run(step, [*into, pin, "--torch-backend", "cpu"])


def checked(*locks: str) -> Command:
    """What tells pip or uv to install these locks from files with the known hashes alone."""
    path = VENV / "checked" / f"{'-'.join(locks)}.txt"
    path.parent.mkdir(exist_ok=True)
    pins = dict.fromkeys(pin for lock in locks for pin in read_lock(lock))
    path.write_text("\n".join(hashed(pins)) + "\n", encoding="utf-8")
    return ["--require-hashes", "-r", path]


def install_product(environment: Environment, title: str) -> None:
    # compat: a plain path in a .pth file; the default installs an import hook that slows every
    # start by 40 ms.
    editable: Command = ["--no-deps", "--no-build-isolation", "-C", "editable_mode=compat"]
    run(
        f"{title}: moorage itself",
        [UV, "pip", "install", "--python", environment.python, *editable, "-e", ROOT],
    )


def prepare_product_folder() -> None:
    """A .venv with pip and uv; one that another Python made is made anew."""
    try:
        import ensurepip  # noqa: F401 - whether there is one
        import venv  # noqa: F401 - the same
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
    if not set(read_lock("tools")) <= installed(VENV):
        run(
            f".venv: uv ({size_text(sum(read_lock('tools').values()))})",
            [VENV / "bin" / "pip", "install", "-q", *checked("tools")],
        )


if __name__ == "__main__":
    sys.exit(main())
