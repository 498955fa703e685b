"""Reads the folder of an AI Toolkit project: its settings, the web API, the base model and the
adapters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.api.problems import ManifestError, Problem
from reconciler.toolkit.settings_files import SettingsFiles, read_settings

# what inference.bicep of the templates runs
IMAGE = "docker.io/pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime"
MODELS, MODEL_CACHE, INFERENCE = "models", "model-cache", "inference"
_IN_CODE = re.compile(
    r"""["'](?:\.\./|\./|/mount/)(?P<path>(?:models|model-cache)/[^"'<>\s]+)["']"""
)
_LOCAL_DIR = re.compile(r"--local-dir[= ]+(?:\./|/mount/)?(?P<path>model-cache/\S+)")
_PLACEHOLDER = re.compile(r"<[a-z]+(?:_[a-z]+)+>")
_IMAGE = re.compile(r"^\s*image:\s*'(?P<image>[^'$]+)'", re.MULTILINE)
_NOT_A_RESULT = re.compile(r"^checkpoints?(-|$)")


@dataclass(frozen=True)
class Project:
    """A project as it lies here. Paths are relative to `root`, with `/`.

    `code_model` and `code_adapter` are where the web API looks; `model` is where the base is
    expected, `adapters` are the folders that hold one; `placeholders` (file:line and text) are what
    the template's user has not filled in.
    """

    root: Path
    settings: SettingsFiles
    image: str
    has_code: bool
    code_model: str | None
    code_adapter: str | None
    model: str | None
    adapters: tuple[str, ...]
    placeholders: tuple[tuple[str, str], ...]

    def here(self, path: str) -> bool:
        """Whether this machine has the folder, and it is not empty."""
        folder = self.root / path
        return folder.is_dir() and any(folder.iterdir())


def read_project(root: Path) -> Project:
    """Read the folder.

    Raises:
        ManifestError: a file cannot be used, or the folder is no AI Toolkit project; every problem
            has a place.
    """
    problems: list[Problem] = []
    if not root.is_dir():
        raise ManifestError(
            [
                Problem(
                    root,
                    0,
                    0,
                    "there is no such folder",
                    "name the folder of an AI Toolkit project",
                )
            ]
        )
    settings = read_settings(root, problems)
    if problems:
        raise ManifestError(problems)
    if not settings.read:
        hint = "an AI Toolkit project has infra/provision/inference.parameters.json"
        raise ManifestError([Problem(root, 0, 0, "this is not an AI Toolkit project", hint)])
    sources = sorted(
        (root / INFERENCE).glob("*.py"),
        key=lambda file: (file.name not in _started(settings), file.name),
    )
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in sources}
    mentioned = [
        match["path"].rstrip("/") for text in texts.values() for match in _IN_CODE.finditer(text)
    ]
    code_model = next((path for path in mentioned if path.startswith(f"{MODEL_CACHE}/")), None)
    return Project(
        root=root,
        settings=settings,
        image=_image(root),
        has_code=bool(sources),
        code_model=code_model,
        code_adapter=next((path for path in mentioned if path.startswith(f"{MODELS}/")), None),
        model=_model(root, code_model, settings),
        adapters=tuple(_adapters(root)),
        placeholders=tuple(_placeholders(root, texts)),
    )


def adapter_folders(paths: Sequence[str]) -> list[str]:
    """The folders among `paths` (files) that hold a finished adapter. Checkpoints of the trainer do
    not count.
    """
    folders = [
        path.rpartition("/")[0]
        for path in paths
        if path.rpartition("/")[2] == "adapter_config.json"
    ]
    return sorted(
        folder
        for folder in folders
        if not any(_NOT_A_RESULT.match(part) for part in folder.split("/"))
    )


def _started(settings: SettingsFiles) -> str:
    commands = settings.parameters.get("defaultCommands")
    return " ".join(commands.value) if commands else ""


def _adapters(root: Path) -> list[str]:
    found = [
        file.relative_to(root).as_posix() for file in (root / MODELS).rglob("adapter_config.json")
    ]
    return adapter_folders(found)


def _model(root: Path, in_code: str | None, settings: SettingsFiles) -> str | None:
    """The path of the base model: from the code, or where fine-tuning downloads it, or the only
    model in the folder.
    """
    here = sorted(
        {
            file.parent.relative_to(root).as_posix()
            for file in (root / MODEL_CACHE).rglob("config.json")
        }
    )
    told = [path for path in (in_code, _downloaded(settings)) if path]
    return (
        next((path for path in told if path in here), None)
        or next(iter(told), None)
        or (here[0] if len(here) == 1 else None)
    )


def _downloaded(settings: SettingsFiles) -> str | None:
    for commands in (
        settings.tuning_config.get("COMMANDS"),
        settings.tuning.get("defaultCommands"),
    ):
        for command in commands.value if commands else ():
            if match := _LOCAL_DIR.search(command):
                return match["path"].rstrip("/")
    return None


def _image(root: Path) -> str:
    """The image in the project's own inference.bicep, if the file names it as plain text."""
    for file in (root / "infra/provision/inference.bicep", root / "infra/inference.bicep"):
        if file.is_file() and (
            match := _IMAGE.search(file.read_text(encoding="utf-8", errors="replace"))
        ):
            return match["image"]
    return IMAGE


def _placeholders(root: Path, texts: dict[Path, str]) -> Iterator[tuple[str, str]]:
    for file, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            for match in _PLACEHOLDER.finditer(line):
                yield f"{file.relative_to(root)}:{number}", match[0]
