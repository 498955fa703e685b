"""`make clients`: the real az and azcopy in .venv/clients, for the tests that drive the local Azure
with them, and the JavaScript packages that read what `moorage client` prints.

Not part of `make install`: az alone takes 0.7 GB of disk. What cannot be fetched is named with its
reason and left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from install import (
    ROOT,
    UV,
    VENV,
    Environment,
    InstallError,
    checked,
    prepare_product_folder,
    read_lock,
    run,
    say,
    size_text,
)

CLIENTS = VENV / "clients"
AZ = Environment(CLIENTS / "az", ("client-az",))
AZCOPY = CLIENTS / "azcopy"
PACKAGE = "@azure-tools/azcopy-linux@10.32.2"
JAVASCRIPT = CLIENTS / "javascript"
PACKAGES = ("openai@6.49.0", "@continuedev/config-yaml@1.42.0")
SECRETS = "libsecret-1.so.0"  # azcopy is linked against it; Debian's package is libsecret-1-0


def main() -> int:
    if not VENV.exists():
        print("make clients: run 'make install' first", file=sys.stderr)
        return 1
    failed = 0
    for name, standing, install in (
        ("az", AZ.stands(), install_az),
        ("azcopy", stands(AZCOPY, PACKAGE), install_azcopy),
        ("javascript", stands(JAVASCRIPT, " ".join(PACKAGES)), install_javascript),
    ):
        if standing:
            continue
        try:
            install()
        except InstallError as error:
            failed = 1
            print(f"make clients: no {name}: {error}", file=sys.stderr)
    return failed


def install_az() -> None:
    prepare_product_folder()
    say(
        "Installing the az CLI into .venv/clients/az: a download of"
        f" {size_text(sum(read_lock('client-az').values()))}."
    )
    shutil.rmtree(AZ.folder, ignore_errors=True)
    run(
        "az: an empty environment",
        [VENV / "bin" / "python", "-m", "venv", "--without-pip", AZ.folder],
    )
    run("az", [UV, "pip", "install", "--python", AZ.python, *checked("client-az")])
    AZ.stamp.write_text(AZ.digest(), encoding="utf-8")


def stands(folder: Path, packages: str) -> bool:
    stamp = folder / ".installed"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == packages


def install_azcopy() -> None:
    for tool, source in (("npm", "nodejs.org"), ("apt-get", "Debian or Ubuntu")):
        if shutil.which(tool) is None and not (tool == "apt-get" and _has_libsecret()):
            raise InstallError(f"{tool} is not there ({source})")
    _install_from_npm(AZCOPY, "azcopy", PACKAGE)
    found = next(AZCOPY.glob("node_modules/@azure-tools/*/dist/bin/azcopy_linux_amd64"), None)
    if found is None:
        raise InstallError(f"{PACKAGE} holds no binary for Linux on x86-64")
    found.chmod(0o755)
    (AZCOPY / "azcopy").symlink_to(found.relative_to(AZCOPY))
    if not _has_libsecret():
        _unpack_libsecret()
    (AZCOPY / ".installed").write_text(PACKAGE, encoding="utf-8")


def install_javascript() -> None:
    if shutil.which("npm") is None:
        raise InstallError("npm is not there (nodejs.org)")
    _install_from_npm(JAVASCRIPT, "JavaScript packages", "--ignore-scripts", *PACKAGES)
    (JAVASCRIPT / ".installed").write_text(" ".join(PACKAGES), encoding="utf-8")


def _install_from_npm(folder: Path, what: str, *arguments: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quiet = ("--loglevel=error", "--no-audit", "--no-fund")
    run(what, ["npm", "install", *quiet, "--prefix", folder, *arguments])


def _has_libsecret() -> bool:
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    return SECRETS in listed


def _unpack_libsecret() -> None:
    """The library beside azcopy instead of on the system: the tests set LD_LIBRARY_PATH."""
    with tempfile.TemporaryDirectory() as folder:
        download = subprocess.run(
            ["apt-get", "download", "libsecret-1-0"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        package = next(Path(folder).glob("*.deb"), None)
        if package is None:
            last = (download.stderr.strip().splitlines() or ["no output"])[-1]
            raise InstallError(
                f"{SECRETS} is missing and Debian's libsecret-1-0 cannot be downloaded: {last}"
            )
        subprocess.run(["dpkg", "-x", package, AZCOPY / "lib"], check=True, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
