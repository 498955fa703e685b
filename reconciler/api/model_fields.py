"""The keys that a document accepts at a path, for the hints "did you mean" and "it belongs in"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from reconciler.api.fields import Fault

Path = tuple[str | int, ...]


def fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys, as written in YAML, of the mapping at `path`; empty where it takes any."""
    return [key for holder in _models_at(model, path) for key, _ in _keys(holder)]


def describe(model: type[BaseModel], path: Path) -> str:
    """What the schema says of the field at `path`, in one line."""
    for holder in _models_at(model, path[:-1]):
        for key, field in _keys(holder):
            if key == path[-1] and field.description:
                return " ".join(field.description.split())
    return ""


def refusal_of(model: type[BaseModel], path: Path, text: str) -> Fault | None:
    """Why the field at `path` would refuse this text; None where it takes it."""
    for holder in _models_at(model, path[:-1]):
        for key, field in _keys(holder):
            if key == path[-1]:
                asked: Any = field.annotation
                for each in field.metadata:
                    asked = Annotated[asked, each]
                try:
                    TypeAdapter(asked).validate_python(text)
                except ValidationError as error:
                    faults = (error.errors()[0].get("ctx") or {}).get("faults", ())
                    return next(iter(faults), None)
    return None


def places_of(model: type[BaseModel], key: str) -> list[str]:
    """The dotted paths of mappings that take `key`."""
    return [
        place for place, holder in _all(model, "") if key in {name for name, _ in _keys(holder)}
    ]


def _all(model: type[BaseModel], place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield place, model
    for key, field in _keys(model):
        for inner in _models_in(field.annotation):
            yield from _all(inner, f"{place}.{key}" if place else key)


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    holders = [model]
    for step in path:
        if isinstance(step, int):
            continue
        holders = [
            inner
            for holder in holders
            for key, field in _keys(holder)
            if key == step
            for inner in _models_in(field.annotation)
        ]
    return holders


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((field.alias or name, field) for name, field in model.model_fields.items())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
