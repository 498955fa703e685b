"""The virtual environments of this checkout: the locks that make each, and whether it stands."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pins import LOCKS, read_lock

ROOT = LOCKS.parent
VENV = ROOT / ".venv"


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


def installed(folder: Path) -> set[str]:
    """`name==version` of what an environment holds, in the spelling of the locks."""
    metadata = folder.glob("lib/python3*/site-packages/*.dist-info")
    names = (path.name.removesuffix(".dist-info").rpartition("-") for path in metadata)
    return {
        f"{re.sub(r'[-_.]+', '-', name).lower()}=={version.partition('+')[0]}"
        for name, _, version in names
    }
