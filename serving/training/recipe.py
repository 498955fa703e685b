"""The recipe: which base model, which adapters, trained how. Read from YAML with errors at
file:line:column.

Paths are relative to the recipe's own folder. `run` turns a recipe into folders; nothing here
imports torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from serving.training.errors import InputError, TrainingError

LLAMA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class RecipePart(BaseModel):
    """Camel case in YAML, snake case in code, unknown keys refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )


class GgufSource(RecipePart):
    """A GGUF file that an installed Python package carries."""

    package: str
    file: str

    def locate(self) -> Path:
        """The file on this machine. Raises TrainingError when the package is not installed or has
        no such file.
        """
        try:
            files = distribution(self.package).files or []
        except PackageNotFoundError:
            raise TrainingError(
                f"the package {self.package}, which carries {self.file}, is not installed; see"
                " `make install`"
            ) from None
        found = [Path(str(entry.locate())) for entry in files if entry.name == self.file]
        if not found or not found[0].is_file():
            raise TrainingError(f"the package {self.package} holds no file {self.file}")
        return found[0]


class RecipeBase(RecipePart):
    """The model the adapters are trained on: a Hugging Face folder, made from `gguf` first when
    that is given.
    """

    path: Path
    gguf: GgufSource | None = None


class AdapterRecipe(RecipePart):
    """One LoRA adapter. `evaluation` is the share of chats kept out of training; `samples` are
    asked before and after.
    """

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")
    dataset: Path
    output: Path
    rank: int = Field(default=8, ge=1, le=256)
    alpha: float = Field(default=16, gt=0)
    target_modules: tuple[str, ...] = Field(default=LLAMA_MODULES, min_length=1)
    steps: int = Field(default=30, ge=1, le=1_000_000)
    batch_size: int = Field(default=8, ge=1, le=1024)
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    max_tokens: int = Field(default=512, ge=8)
    seed: int = Field(default=0, ge=0, lt=2**32)
    evaluation: float = Field(default=0.1, ge=0, le=0.5)
    checkpoint_every: int = Field(default=10, ge=1)
    samples: tuple[str, ...] = ()


class Recipe(RecipePart):
    """A base and its adapters. Names and output folders are unique."""

    base: RecipeBase
    adapters: tuple[AdapterRecipe, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Recipe:
        for what in ("name", "output"):
            values = [getattr(adapter, what) for adapter in self.adapters]
            double = next((value for value in values if values.count(value) > 1), None)
            if double is not None:
                raise ValueError(f"two adapters have the {what} {double}; each needs its own")
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; its paths come back absolute. Raises InputError with the place of
    the first fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(path, "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(path, f"cannot be read: {reason}") from None
    document = _parse(path, text)
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise _located(path, document, error) from None
    recipe = _absolute(recipe, path.resolve().parent)
    _check_files(path, document, recipe)
    return recipe


def _check_files(path: Path, document: CommentedMap, recipe: Recipe) -> None:
    """Check that everything the recipe names exists; the error is at the line that names it."""
    if recipe.base.gguf is None and not (recipe.base.path / "config.json").is_file():
        problem = (
            f"no model folder {recipe.base.path} (it would hold config.json); or name a `gguf` to"
            " make it from"
        )
        raise InputError(path, problem, *_place(document, ("base", "path"), "value"))
    if recipe.base.gguf is not None:
        try:
            recipe.base.gguf.locate()
        except TrainingError as error:
            raise InputError(
                path, str(error), *_place(document, ("base", "gguf"), "value")
            ) from None
    for index, adapter in enumerate(recipe.adapters):
        if not adapter.dataset.is_file():
            raise InputError(
                path,
                f"no dataset {adapter.dataset}",
                *_place(document, ("adapters", index, "dataset"), "value"),
            )


def _parse(path: Path, text: str) -> CommentedMap:
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise InputError(
            path, f"not valid YAML: {error.problem or error.context}", line, column
        ) from None
    except YAMLError as error:
        raise InputError(path, f"not valid YAML: {error}") from None
    if not isinstance(document, CommentedMap):
        raise InputError(path, "a recipe is a mapping with `base` and `adapters`", 1, 1)
    return document


def _located(path: Path, document: CommentedMap, error: ValidationError) -> InputError:
    """The first fault in the order of the file, because a person fixes that one first."""
    found = error.errors()
    # A list whose entry is wrong is also reported as too short; only the innermost fault is the
    # cause.
    causes = [
        one
        for one in found
        if not any(
            one["loc"] == other["loc"][: len(one["loc"])] for other in found if other is not one
        )
    ]
    faults = sorted(
        (
            _place(document, fault["loc"], fault["type"]),
            _sentence(fault["loc"], fault["type"], fault["msg"], fault.get("input")),
        )
        for fault in causes or found
    )
    (line, column), message = faults[0]
    return InputError(path, message, line, column)


def _place(document: Any, location: Sequence[int | str], kind: str) -> tuple[int, int]:
    """Walk the parsed YAML as deep as the fault's location goes; a missing key points at the
    mapping it is missing from.
    """
    line, column = 0, 0
    node = document
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(node, CommentedMap) and part in node:
            at_key = last and kind == "extra_forbidden"
            line, column = node.lc.key(part) if at_key else node.lc.value(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line, column = node.lc.item(part)
        else:
            break
        node = node[part]
    return line + 1, column + 1


def _sentence(location: Sequence[int | str], kind: str, message: str, value: Any) -> str:
    name = ".".join(str(part) for part in location) or "recipe"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "extra_forbidden":
        known = [
            field.alias or key
            for model in _models_at(location)
            for key, field in model.model_fields.items()
        ]
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        return f"unknown key {name}" + (
            f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"
        )
    text = message.removeprefix("Value error, ")
    return f"{name}: {text}" + (f" (got {value!r})" if isinstance(value, str | int | float) else "")


def _models_at(location: Sequence[int | str]) -> list[type[RecipePart]]:
    if location[0] == "adapters":
        return [AdapterRecipe] if len(location) > 1 else [Recipe]
    if location[0] == "base" and len(location) > 1:
        return [GgufSource] if location[1] == "gguf" and len(location) > 2 else [RecipeBase]
    return [Recipe]


def _absolute(recipe: Recipe, folder: Path) -> Recipe:
    base = recipe.base.model_copy(update={"path": (folder / recipe.base.path).resolve()})
    adapters = tuple(
        adapter.model_copy(
            update={
                "dataset": (folder / adapter.dataset).resolve(),
                "output": (folder / adapter.output).resolve(),
            }
        )
        for adapter in recipe.adapters
    )
    return recipe.model_copy(update={"base": base, "adapters": adapters})
