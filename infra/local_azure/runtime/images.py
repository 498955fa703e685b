"""Which local Python environment stands for a container image, read from images.yaml. Used by
`replica` when it "pulls".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_REPOSITORY = Path(__file__).parents[3]
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImagePullError(Exception):
    """No local environment stands for the image; the message says what to do."""


@dataclass(frozen=True)
class Image:
    """A mapped image: its environment's folder, and the ENTRYPOINT and CMD it would bring."""

    environment: Path
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]

    def argv(self, command: Sequence[str], args: Sequence[str]) -> tuple[str, ...]:
        """What Kubernetes runs: command replaces the entrypoint (and drops cmd), args
        replace cmd.
        """
        if command:
            return (*command, *args)
        return (*self.entrypoint, *(args or self.cmd))

    @property
    def path(self) -> str:
        return f"{self.environment}/bin:{_SYSTEM_PATH}"

    @property
    def visible(self) -> tuple[str, ...]:
        """What a replica must see of this machine: the environment and the Python it was
        made from.
        """
        return (
            str(self.environment),
            str(self.environment.resolve()),
            *_base_prefixes(self.environment),
        )


def find(images: Path, name: str) -> Image:
    """The first entry of the file `images` that matches. Raises ImagePullError."""
    for entry in _entries(images):
        if any(fnmatchcase(name, pattern) for pattern in entry["image"]):
            environment = _REPOSITORY / entry["environment"]
            if not (environment / "bin" / "python3").exists():
                raise ImagePullError(
                    f'Failed to pull image "{name}": its local environment {environment} is missing'
                    " (make install creates it)"
                )
            return Image(
                environment, tuple(entry.get("entrypoint", ())), tuple(entry.get("cmd", ()))
            )
    raise ImagePullError(
        f'Failed to pull image "{name}": no entry of {images} maps it to a local Python environment'
    )


def _entries(images: Path) -> list[dict[str, Any]]:
    try:
        entries = YAML(typ="safe").load(images.read_text()) or []
        return [
            {"image": list(entry["image"]), "environment": str(entry["environment"]), **entry}
            for entry in entries
        ]
    except (OSError, YAMLError, KeyError, TypeError) as error:
        raise ImagePullError(f"Failed to read {images}: {error!r}") from error


def _base_prefixes(environment: Path) -> tuple[str, ...]:
    """The installation behind a virtual environment, as pyvenv.cfg writes it and where
    links lead.
    """
    interpreter = (environment / "bin" / "python3").resolve()
    found = {interpreter.parents[1]}
    configuration = environment / "pyvenv.cfg"
    if configuration.is_file():
        for line in configuration.read_text().splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                found |= {Path(value.strip()).parent, Path(value.strip()).resolve().parent}
    return tuple(sorted(str(prefix) for prefix in found if prefix != Path("/")))
