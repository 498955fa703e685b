"""`make clients`: the real az and azcopy in .venv/clients, for the tests that drive the local Azure
with them.

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
SECRETS = "libsecret-1.so.0"  # azcopy is linked against it; Debian's package is libsecret-1-0


def main() -> int:
    if not VENV.exists():
        print("make clients: run 'make install' first", file=sys.stderr)
        return 1
    failed = 0
    for name, standing, install in (
        ("az", AZ.stands(), install_az),
        ("azcopy", azcopy_stands(), install_azcopy),
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


def azcopy_stands() -> bool:
    stamp = AZCOPY / ".installed"
    return stamp.exists() and stamp.read_text(encoding="utf-8") == PACKAGE


def install_azcopy() -> None:
    for tool, source in (("npm", "nodejs.org"), ("apt-get", "Debian or Ubuntu")):
        if shutil.which(tool) is None and not (tool == "apt-get" and _has_libsecret()):
            raise InstallError(f"{tool} is not there ({source})")
    shutil.rmtree(AZCOPY, ignore_errors=True)
    AZCOPY.mkdir(parents=True)
    run(
        "azcopy",
        [
            "npm",
            "install",
            "--loglevel=error",
            "--no-audit",
            "--no-fund",
            "--prefix",
            AZCOPY,
            PACKAGE,
        ],
    )
    found = next(AZCOPY.glob("node_modules/@azure-tools/*/dist/bin/azcopy_linux_amd64"), None)
    if found is None:
        raise InstallError(f"{PACKAGE} holds no binary for Linux on x86-64")
    found.chmod(0o755)
    (AZCOPY / "azcopy").symlink_to(found.relative_to(AZCOPY))
    if not _has_libsecret():
        _unpack_libsecret()
    (AZCOPY / ".installed").write_text(PACKAGE, encoding="utf-8")


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
