"""Which images exist, and which local Python environment stands for each, read from images.yaml.
`providers.app.image_check` asks before a write is applied, `replica` when it "pulls".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_REPOSITORY = Path(__file__).parents[3]
_REMEDY = "make install creates it"
_REMEDY_INSTALLED = (
    "a wheel brings no images: stop this local Azure and start it with"
    " `moorage local-azure start --images FILE`, or use a checkout with make install"
)
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ImagePullError(Exception):
    """No local environment stands for the image; the message says what to do."""


@dataclass(frozen=True)
class RegistryLogin:
    """How an app signs in to a registry: with a password, or with a managed identity, which
    `may_pull` or not.
    """

    username: str = ""
    password: str = ""
    identity: str = ""
    may_pull: bool = False


@dataclass(frozen=True)
class PullRefusal:
    """Why Azure does not take an image. `hangs`: it gives no answer until the operation expires."""

    kind: Literal["missing", "denied", "hangs"]
    message: str


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
    """What the first entry of the file `images` that matches maps it to. Raises ImagePullError."""
    entry = _entry(images, name)
    if entry is None or not entry.get("environment"):
        raise ImagePullError(
            f'Failed to pull image "{name}": no entry of {images} maps it to a local Python'
            " environment"
        )
    environment = _REPOSITORY / entry["environment"]
    if not (environment / "bin" / "python3").exists():
        raise ImagePullError(
            f'Failed to pull image "{name}": its local environment {environment} is missing'
            f" ({_REMEDY if (_REPOSITORY / 'pyproject.toml').exists() else _REMEDY_INSTALLED})"
        )
    return Image(environment, tuple(entry.get("entrypoint", ())), tuple(entry.get("cmd", ())))


def refusal(images: Path, name: str, login: RegistryLogin | None) -> PullRefusal | None:
    """Why the registry refuses the image to an app with this login; None if it does not."""
    try:
        entry = _entry(images, name)
    except ImagePullError as error:
        return PullRefusal("missing", str(error))
    if entry is None:
        text = f"MANIFEST_UNKNOWN: manifest unknown (no entry of {images} matches the image)"
        return PullRefusal("missing", text)
    pull, wanted = entry.get("pull"), entry.get("credentials")
    by_identity = bool(wanted and login and login.identity)
    # Of an identity without the role AcrPull, Azure says nothing until the operation expires.
    if pull == "hangs" or (by_identity and login and not login.may_pull):
        return PullRefusal("hangs", "Operation expired.")
    if by_identity:
        return None
    given = {"username": login.username, "password": login.password} if login else None
    if pull == "denied" or (wanted and wanted != given):
        return PullRefusal("denied", "UNAUTHORIZED: authentication required")
    return None


def _entry(images: Path, name: str) -> dict[str, Any] | None:
    """The first entry that matches. Raises ImagePullError when the file cannot be read."""
    try:
        entries = YAML(typ="safe").load(images.read_text()) or []
        return next(
            (
                dict(entry)
                for entry in entries
                if any(fnmatchcase(name, pattern) for pattern in entry["image"])
            ),
            None,
        )
    except (OSError, YAMLError, KeyError, TypeError, ValueError) as error:
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
