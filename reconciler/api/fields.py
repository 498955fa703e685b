"""The parts of every document model: the base model, enumerations that ignore case, and errors that
name the correct form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import CoreSchema

REFUSED = "refused"  # the type of our own validation errors

Item = TypeVar("Item")
Items = tuple[Item, ...]
Bool = StrictBool  # YAML 1.2 knows true and false only; "yes" must not slip through
Int = StrictInt
Path = tuple[str | int, ...]


class Model(BaseModel):
    """Frozen, camel case in YAML, snake case in code; an unknown key is an error;
    `model_fields_set` is what the user set.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_left_out(cls, value: Any) -> Any:
        """An empty `adapters:` counts as no field: it remains when the last item of a list is
        removed.
        """
        if not isinstance(value, dict):
            return value
        optional = {field.alias: not field.is_required() for field in cls.model_fields.values()}
        return {
            key: item for key, item in value.items() if item is not None or not optional.get(key)
        }


class AnyCaseEnum(StrEnum):
    """An enumeration in PascalCase that is read in any case."""

    @classmethod
    def _missing_(cls, value: object) -> AnyCaseEnum | None:
        if not isinstance(value, str):
            return None
        return next((word for word in cls if word.value.lower() == value.lower()), None)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Offered as written here; accepted in any case."""
        offered = handler.resolve_ref_schema(handler(schema))
        any_case = "|".join("".join(_either_case(letter) for letter in word.value) for word in cls)
        return {
            "anyOf": [{"enum": [word.value for word in cls]}, {"pattern": f"^({any_case})$"}],
            "type": "string",
        } | {key: value for key, value in offered.items() if key in {"title", "description"}}


class Fault(NamedTuple):
    """One error and the correct form. `at` is the path from the refused value to its wrong part;
    with `key` the key of this part is wrong, not its value.
    """

    message: str
    hint: str = ""
    at: Path = ()
    key: bool = False


def refusal(*faults: Fault) -> PydanticCustomError:
    """The error a validator raises; the manifest loader turns each fault into a problem at its own
    line and column.
    """
    text = " / ".join(
        f"{fault.message}; {fault.hint}" if fault.hint else fault.message for fault in faults
    )
    return PydanticCustomError(REFUSED, "{text}", {"text": text, "faults": faults})


def refuse_any(faults: Iterable[Fault]) -> None:
    """Raise when there is any fault."""
    found = tuple(faults)
    if found:
        raise refusal(*found)


def unique(field: str, what: str, hint: str, *, ignoring_case: bool = False) -> AfterValidator:
    """Refuse two items of a list with the same `field`, at the place of the later one."""

    def check(items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen: dict[str, int] = {}
        faults = []
        for index, item in enumerate(items):
            name = getattr(item, field)
            first = seen.setdefault(name.lower() if ignoring_case else name, index)
            if first != index:
                faults.append(
                    Fault(
                        f"{what} {name!r} is named twice, first as item {first + 1}",
                        hint,
                        (index, to_camel(field)),
                    )
                )
        refuse_any(faults)
        return items

    return AfterValidator(check)


def bounded(check: Callable[[Any], bool], message: str, hint: str) -> AfterValidator:
    """A value for which `check` is false is refused with `message` (`{}` stands for the value) and
    `hint`.
    """

    def validate(value: Any) -> Any:
        if not check(value):
            raise refusal(Fault(message.format(value), hint))
        return value

    return AfterValidator(validate)


def _either_case(letter: str) -> str:
    return f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter
