"""The serving package as a folder to publish: what a stock vLLM image finds on PYTHONPATH,
entry-point metadata included.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata, resources
from pathlib import Path

from serving import ENTRY_POINTS

NOT_IN_A_REPLICA = frozenset({"training", "gateway"})


def build_runtime(cache: Path) -> Path:
    """Write the runtime below `cache` and return its folder; the same release always gives the same
    bytes.

    vLLM finds plugins through installed metadata, so a `dist-info` folder travels along; nothing
    has to be installed.
    """
    files = {f"serving/{name}": data for name, data in package_files(gateway=False)}
    version = _version()
    folder = f"moorage_serving-{version}.dist-info"
    files[f"{folder}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: moorage-serving\nVersion: {version}\n".encode()
    )
    files[f"{folder}/entry_points.txt"] = _entry_points().encode()
    return write_runtime(cache, files)


def write_runtime(
    cache: Path,
    files: Mapping[str, bytes],
    derived: Mapping[str, Callable[[], bytes]] | None = None,
) -> Path:
    """Write `files` below `cache`, in a folder that is called by their digest, and what is derived
    from them; return the folder.
    """
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(name.encode() + b"\0" + files[name] + b"\0")
    target = cache / "runtime" / total.hexdigest()[:12]
    if not target.is_dir():
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        made = {name: make() for name, make in (derived or {}).items()}
        for name, data in {**files, **made}.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        partial.replace(target)
    return target


def package_files(*, gateway: bool) -> Iterator[tuple[str, bytes]]:
    """The files of the serving package, as a replica of a model or of a gateway needs them."""
    root = Path(str(resources.files("serving")))
    left_out = NOT_IN_A_REPLICA - ({"gateway"} if gateway else set()) | {"__pycache__"}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not left_out.intersection(relative.parts) and path.suffix != ".pyc":
            yield relative.as_posix(), path.read_bytes()


def _entry_points() -> str:
    groups = [
        [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
        for group, points in ENTRY_POINTS.items()
    ]
    return "".join(f"{line}\n" for group in groups for line in group)


def _version() -> str:
    try:
        return metadata.version("moorage")
    except metadata.PackageNotFoundError:
        return "0.0.0"
