"""The gateway's runtime as a folder to publish: the serving package and the packages that it needs,
as they are installed beside this daemon. A plain Python image then needs no build and no registry.

Compiled modules are tied to a Python and a platform: the image takes the daemon's Python, and only
on the platform of Container Apps can the daemon make this folder.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from reconciler.api.documents import Environment
from reconciler.api.reasons import Reason
from reconciler.api.source import Missing
from reconciler.sources.runtime import package_files, write_runtime
from serving.gateway import compiled

NEEDS = ("aiohttp", "cryptography", "prometheus-client", "pydantic", "pyjwt", "uvloop")
PLATFORM = ("Linux", "x86_64", "CPython")
_LEFT_OUT = (".pyc", ".pyi", ".c", ".h", ".pyx", ".pxd", ".typed", "RECORD", "INSTALLER")


def unsupported() -> Missing | None:
    """Why this machine cannot make the folder; None if it can."""
    here = (platform.system(), platform.machine(), platform.python_implementation())
    if here == PLATFORM and platform.libc_ver()[0] == "glibc":
        return None
    what = f"{sys.version_info.major}.{sys.version_info.minor} on {here[0]} {here[1]} ({here[2]})"
    return Missing(
        Reason.GATEWAY_UNSUPPORTED,
        f"the gateway's modules are compiled for Linux x86_64 with glibc, and a daemon on this"
        f" machine runs Python {what}",
    )


def machine_notes(document: object) -> Iterator[str]:
    """A hint for a person who checks a document with a gateway on a machine that cannot make its
    runtime. It is not an error, because the daemon may run elsewhere.
    """
    if isinstance(document, Environment) and document.spec.gateway is not None:
        why = unsupported()
        if why is not None:
            hint = "run the daemon on Linux x86_64, or leave the gateway out"
            yield f"gateway: {why.message}; {hint}"


def build_gateway_runtime(cache: Path) -> Path:
    """Write the runtime below `cache` and return its folder; the same installation always gives the
    same bytes.
    """
    files = {f"serving/{name}": data for name, data in package_files(gateway=True)}
    for distribution in distributions():
        files |= dict(_files(distribution))
    # The sources name the folder, so that only a new one is compiled.
    return write_runtime(cache, files, {compiled.NAME: lambda: compiled.pack(files)})


def distributions() -> list[metadata.Distribution]:
    """The installed distributions in NEEDS, and everything that they require."""
    from packaging.requirements import Requirement  # only a daemon with a gateway needs it

    found: dict[str, metadata.Distribution] = {}
    names = list(NEEDS)
    while names:
        name = names.pop()
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                names.append(need.name.lower().replace("_", "-"))
    return [found[name] for name in sorted(found)]


def _files(distribution: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """Modules and metadata of a distribution; commands lie outside its folder and stay here."""
    for file in distribution.files or ():
        path = file.as_posix()
        if ".." in file.parts or "__pycache__" in file.parts or path.endswith(_LEFT_OUT):
            continue
        yield path, Path(str(file.locate())).read_bytes()
